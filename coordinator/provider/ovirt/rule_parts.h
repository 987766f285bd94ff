#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/provider/ovirt/model.h"
#include "coordinator/provider/source_vm.h"
#include "coordinator/rules/findings.h"

// What the files of rules.h share.
namespace vmferry::ovirt {

using rules::Findings;

inline bool is_true(const Flag& flag) { return flag.value_or(false); }

inline bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

// Present, though perhaps empty, and none of `words`.
inline bool is_other(const Text& text, std::initializer_list<std::string_view> words) {
  return text && !is_one_of(*text, words);
}

}  // namespace vmferry::ovirt
