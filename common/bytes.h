#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

namespace vmferry {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;
inline constexpr std::uint64_t kTiB = 1024 * kGiB;

// For people: "0 B", "512 B", "1.5 GiB", "96.0 MiB".
std::string human_bytes(std::uint64_t bytes);
std::string human_rate(double bytes_per_second);  // "182.4 MiB/s"
std::string human_duration(double seconds);       // "3 s", "2 min 05 s", "1 h 12 min"

// A size that a person typed: "200M", "200MiB", "1.5G", "4096". Units are powers of 1024.
Result<std::uint64_t> parse_size(std::string_view text);

// A Kubernetes quantity of bytes: "1Gi", "1G", "1610612736", "500M", "1e9". InvalidArgument else.
Result<std::uint64_t> parse_quantity(std::string_view text);

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace vmferry
