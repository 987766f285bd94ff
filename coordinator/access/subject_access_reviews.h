#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <tuple>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/result.h"
#include "coordinator/kube/object.h"
#include "coordinator/kube/writer.h"

namespace vmferry::access {

// Stands for the authors of a namespace's imports where something of another namespace is named.
// An API object does not say who wrote it, so the other namespace's owner lets this service account
// read it, and thereby everybody who may make imports here. It need not exist.
inline constexpr std::string_view kAuthorAccount = "vmferry-import";
std::string author_of(const std::string& import_namespace);  // "system:serviceaccount:ns:..."

// Asks the API server what that account may read (SubjectAccessReview). Remembers an answer for a
// while, a refusal shorter: somebody may be about to mend it. Thread-safe.
class SubjectAccessReviews {
 public:
  static constexpr std::chrono::seconds kRememberYes{60};
  static constexpr std::chrono::seconds kRememberNo{3};

  SubjectAccessReviews(kube::Writer& writer, const Clock& clock) : writer_(writer), clock_(clock) {}

  // Errors: those of the writer.
  Result<bool> may_read(const std::string& import_namespace, const kube::ResourceType& type,
                        const kube::ObjectKey& key, std::stop_token stop);

 private:
  using Question = std::tuple<std::string, std::string, kube::ObjectKey>;
  struct Answer {
    bool allowed = false;
    SteadyTime until{};
  };
  kube::Writer& writer_;
  const Clock& clock_;
  Guarded<std::map<Question, Answer>> answers_;
};

}  // namespace vmferry::access
