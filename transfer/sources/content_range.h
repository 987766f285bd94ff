#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "common/result.h"

namespace vmferry {

// "bytes 0-1023/4096" of a 206, "bytes */4096" of a 416 (RFC 9110 14.4).
struct ContentRange {
  bool satisfied = false;              // false: the "*/" form
  std::uint64_t first = 0;             // inclusive, when satisfied
  std::uint64_t last = 0;              // inclusive, >= first
  std::optional<std::uint64_t> total;  // unknown: "/*"
  friend bool operator==(const ContentRange&, const ContentRange&) = default;
};

// InvalidArgument: another unit, not numbers, first > last, last >= total, overflow.
Result<ContentRange> parse_content_range(std::string_view text);

// Decimal digits alone, the whole text; nothing on anything else or on overflow.
std::optional<std::uint64_t> parse_decimal(std::string_view text);

}  // namespace vmferry
