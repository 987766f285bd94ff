#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "coordinator/provider/source_vm.h"

namespace vmferry::rules {

// One rule of validation, in one of its forms: most rules have one. Forms of a rule stand together,
// the usual one, whose `form` is empty, first. docs/rules.md shows the tables; a test compares.
struct Rule {
  std::string_view id;
  std::string_view form;
  std::string_view provider;  // "oVirt", "VMware", "both"
  FindingGroup group;         // the condition that it goes to
  FindingLevel level;
  bool overridable;            // false: may be raised by the configuration, not lowered
  std::string_view condition;  // when the finding is raised
  // What people read. "{word}" stands for a value that whoever raises the finding gives, in the
  // order in which the words come first, the text's before the remedy's.
  std::string_view text, remedy;
};

constexpr std::size_t kMostWords = 8;

struct Words {
  std::array<std::string_view, kMostWords> names{};
  std::size_t count = 0;

  constexpr std::size_t index_of(std::string_view name) const {
    std::size_t at = 0;
    while (at < count && names[at] != name) ++at;
    return at;
  }
};

// The distinct words of a rule's text and remedy. More than kMostWords: the rest is not counted,
// which a test would tell.
constexpr Words words_of(const Rule& rule) {
  Words words;
  for (std::string_view text : {rule.text, rule.remedy}) {
    while (true) {
      const std::size_t open = text.find('{');
      const std::size_t close = open == text.npos ? text.npos : text.find('}', open);
      if (close == text.npos) break;
      const std::string_view name = text.substr(open + 1, close - open - 1);
      if (words.index_of(name) == words.count && words.count < kMostWords) {
        words.names[words.count++] = name;
      }
      text.remove_prefix(close + 1);
    }
  }
  return words;
}

// What the tables are written with.
inline constexpr std::string_view kBoth = "both", kOvirt = "oVirt", kVmware = "VMware";
inline constexpr FindingGroup kMapping = FindingGroup::Mapping, kSource = FindingGroup::Rules;
inline constexpr FindingLevel kLog = FindingLevel::Log, kWarn = FindingLevel::Warn,
                              kBlock = FindingLevel::Block;
inline constexpr bool kOverridable = true, kFixed = false;

}  // namespace vmferry::rules
