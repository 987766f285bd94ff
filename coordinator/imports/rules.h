#pragma once

#include <span>
#include <string_view>

#include "coordinator/provider/source_vm.h"

namespace vmferry::imports {

// One rule of validation.md: docs/rules.md shows this table, and a test compares the two.
struct Rule {
  std::string_view id;
  std::string_view provider;   // "oVirt", "VMware", "both"
  FindingLevel level;          // the usual one; the condition names exceptions
  bool overridable;            // false: may be raised, not lowered
  std::string_view condition;  // when the finding is raised
};

std::span<const Rule> all_rules();
const Rule* find_rule(std::string_view id);

}  // namespace vmferry::imports
