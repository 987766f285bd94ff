#pragma once

#include <string_view>

#include "cli/import_view.h"
#include "common/result.h"

namespace vmferry::cli {

enum class WaitFor { Succeeded, Failed, Deleted };
enum class WaitDecision { GoOn, Reached, Missed };

Result<WaitFor> parse_wait_for(std::string_view text);

// Pure. Blocked is neither success nor failure: it goes on by itself once the cause is removed.
// Deleted cannot be missed.
WaitDecision wait_decision(WaitFor wanted, const ImportView& import);

}  // namespace vmferry::cli
