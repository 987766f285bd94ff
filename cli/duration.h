#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/result.h"

namespace vmferry::cli {

// A span of time that a person typed: "90" (seconds), "90s", "10m", "1h30m", "2d", "500ms". Units
// from large to small, each at most once. InvalidArgument else.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

// For a column AGE: "5s", "12m", "3h", "4d"; "-" when `since` is not a time.
std::string age_text(std::string_view since_rfc3339, WallTime now);

}  // namespace vmferry::cli
