#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/provider/ovirt/model.h"
#include "coordinator/provider/source_vm.h"

// What the files of rules.h share.
namespace vmferry::ovirt {

class Findings {
 public:
  void log(std::string_view rule, std::string text) {
    add(rule, FindingLevel::Log, std::move(text), {});
  }
  void warn(std::string_view rule, std::string text, std::string_view remedy = {}) {
    add(rule, FindingLevel::Warn, std::move(text), remedy);
  }
  void block(std::string_view rule, std::string text, std::string_view remedy) {
    add(rule, FindingLevel::Block, std::move(text), remedy);
  }
  std::vector<Finding> take() { return std::move(list_); }

 private:
  void add(std::string_view rule, FindingLevel level, std::string text, std::string_view remedy) {
    list_.push_back({.rule = std::string(rule),
                     .level = level,
                     .group = FindingGroup::Rules,
                     .text = std::move(text),
                     .remedy = std::string(remedy)});
  }
  std::vector<Finding> list_;
};

inline bool is_true(const Flag& flag) { return flag.value_or(false); }

inline bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

// Present, though perhaps empty, and none of `words`.
inline bool is_other(const Text& text, std::initializer_list<std::string_view> words) {
  return text && !is_one_of(*text, words);
}

}  // namespace vmferry::ovirt
