#pragma once

#include <optional>
#include <string_view>

#include "coordinator/provider/source_vm.h"

// The words for findings in a status and in a configuration.
namespace vmferry {

std::string_view to_string(FindingGroup group);                          // "mapping", "rules"
std::optional<FindingLevel> parse_finding_level(std::string_view text);  // "log", "warn", "block"

}  // namespace vmferry
