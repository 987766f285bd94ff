#include "coordinator/access/subject_access_reviews.h"

#include "coordinator/kube/server_types.h"

namespace vmferry::access {
namespace {

using nlohmann::json;

constexpr std::size_t kMostAnswers = 4096;

}  // namespace

std::string author_of(const std::string& import_namespace) {
  return "system:serviceaccount:" + import_namespace + ":" + std::string(kAuthorAccount);
}

Result<bool> SubjectAccessReviews::may_read(const std::string& import_namespace,
                                            const kube::ResourceType& type,
                                            const kube::ObjectKey& key, std::stop_token stop) {
  const Question question{import_namespace, type.plural, key};
  {
    auto answers = answers_.lock();
    const auto known = answers->find(question);
    if (known != answers->end() && clock_.steady() < known->second.until) {
      return known->second.allowed;
    }
  }
  const kube::Object request(
      json{{"spec",
            {{"user", author_of(import_namespace)},
             {"groups",
              {"system:serviceaccounts", "system:serviceaccounts:" + import_namespace,
               "system:authenticated"}},
             {"resourceAttributes",
              {{"namespace", key.ns},
               {"name", key.name},
               {"verb", "get"},
               {"group", type.group()},
               {"resource", type.plural}}}}}});
  const kube::Object review =
      TRY(writer_.create(kube::types::kSubjectAccessReview, request, {}, stop));
  const json::json_pointer path("/status/allowed");
  const bool allowed = review.json().contains(path) && review.json().at(path) == json(true);
  auto answers = answers_.lock();
  const SteadyTime now = clock_.steady();
  if (answers->size() >= kMostAnswers) {
    std::erase_if(*answers, [&](const auto& item) { return now >= item.second.until; });
    if (answers->size() >= kMostAnswers) answers->clear();
  }
  answers->insert_or_assign(question,
                            Answer{allowed, now + (allowed ? kRememberYes : kRememberNo)});
  return allowed;
}

}  // namespace vmferry::access
