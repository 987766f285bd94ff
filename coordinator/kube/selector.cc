#include "coordinator/kube/selector.h"

#include <algorithm>

namespace vmferry::kube {
namespace {

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector selector;
  if (trim(text).empty()) return selector;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view part = trim(text.substr(0, comma));
    const std::size_t sign = part.find('=');
    Part parsed;
    std::string_view key = part;
    if (sign != std::string_view::npos) {
      const bool differs = sign > 0 && part[sign - 1] == '!';
      const bool doubled = part.substr(sign).starts_with("==");
      parsed.test = differs ? Test::Differs : Test::Equals;
      parsed.value = trim(part.substr(sign + (doubled ? 2 : 1)));
      key = part.substr(0, differs ? sign - 1 : sign);
    } else if (part.starts_with('!')) {
      parsed.test = Test::Absent;
      key = part.substr(1);
    }
    parsed.key = trim(key);
    if (parsed.key.empty() || parsed.key.find_first_of(" !()=") != std::string::npos ||
        parsed.value.find_first_of(" !()=") != std::string::npos) {
      return make_error(ErrorKind::InvalidArgument,
                        "'{}' is not a label selector: write a=b, a!=b, a or !a", part);
    }
    selector.parts_.push_back(std::move(parsed));
    if (comma == std::string_view::npos) return selector;
    text.remove_prefix(comma + 1);
  }
}

bool LabelSelector::matches(const std::map<std::string, std::string>& labels) const {
  return std::all_of(parts_.begin(), parts_.end(), [&labels](const Part& part) {
    const auto found = labels.find(part.key);
    const bool exists = found != labels.end();
    switch (part.test) {
      case Test::Equals:
        return exists && found->second == part.value;
      case Test::Differs:  // as the API: also where the label is absent
        return !exists || found->second != part.value;
      case Test::Exists:
        return exists;
      case Test::Absent:
        return !exists;
    }
    return false;
  });
}

bool LabelSelector::is_within(const LabelSelector& wider) const {
  return std::ranges::all_of(wider.parts_, [this](const Part& wanted) {
    return std::ranges::any_of(parts_, [&](const Part& part) {
      const bool has_label = wanted.test == Test::Exists && part.test == Test::Equals;
      return part == wanted || (has_label && part.key == wanted.key);
    });
  });
}

std::optional<std::string> LabelSelector::only_key() const {
  if (parts_.size() != 1 || parts_[0].test == Test::Absent || parts_[0].test == Test::Differs) {
    return std::nullopt;
  }
  return parts_[0].key;
}

std::optional<std::string> LabelSelector::value_of(std::string_view key) const {
  for (const Part& part : parts_) {
    if (part.test == Test::Equals && part.key == key) return part.value;
  }
  return std::nullopt;
}

}  // namespace vmferry::kube
