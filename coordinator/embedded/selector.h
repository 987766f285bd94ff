#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace vmferry::embedded {

// A parsed label selector: "a=b,c!=d,e,!f". All parts must hold.
class LabelSelector {
 public:
  // InvalidArgument names the part that is malformed.
  static Result<LabelSelector> parse(std::string_view text);

  bool empty() const { return parts_.empty(); }
  bool matches(const std::map<std::string, std::string>& labels) const;

 private:
  enum class Test { Equals, Differs, Exists, Absent };
  struct Part {
    Test test = Test::Exists;
    std::string key, value;
  };
  std::vector<Part> parts_;
};

}  // namespace vmferry::embedded
