#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace vmferry::kube {

// A parsed label selector: "a=b,c!=d,e,!f". All parts must hold.
class LabelSelector {
 public:
  // InvalidArgument names the part that is malformed.
  static Result<LabelSelector> parse(std::string_view text);

  bool empty() const { return parts_.empty(); }
  bool matches(const std::map<std::string, std::string>& labels) const;
  // Whether it can only match what `wider` matches too; may say no where it is so all the same.
  bool is_within(const LabelSelector& wider) const;
  // The label whose presence, or value, is all that it asks for; nothing for other selectors.
  std::optional<std::string> only_key() const;
  std::optional<std::string> value_of(std::string_view key) const;  // where it wants one

 private:
  enum class Test { Equals, Differs, Exists, Absent };
  struct Part {
    Test test = Test::Exists;
    std::string key, value;
    friend bool operator==(const Part&, const Part&) = default;
  };
  std::vector<Part> parts_;
};

}  // namespace vmferry::kube
