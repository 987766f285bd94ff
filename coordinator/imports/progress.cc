#include "coordinator/imports/progress.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace vmferry::imports {

namespace {

constexpr int kLowest = 0;
constexpr int kHighest = 100;

// The annotation is text that anybody may write: what is no number counts as nothing done.
int parse_percent(std::string_view text) {
  int value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end) return kLowest;
  return std::clamp(value, kLowest, kHighest);
}

}  // namespace

ProgressProfile design_profile(bool conversion_follows) {
  ProgressProfile profile;
  if (conversion_follows) profile.copy_end = 80;
  return profile;
}

ProgressProfile upstream_profile() {
  return {.start = 0, .vm_built = 5, .copy_start = 10, .copy_end = 75, .starting = 90, .done = 100};
}

int copy_progress(const ProgressProfile& profile, std::uint64_t moved, std::uint64_t to_move) {
  if (to_move == 0 || moved >= to_move) return profile.copy_end;
  const auto range = static_cast<std::uint64_t>(profile.copy_end - profile.copy_start);
  // Beyond 2^56 bytes the product could overflow; a share of percents does not need the last bits.
  while (to_move > (std::uint64_t{1} << 56)) {
    to_move >>= 1;
    moved >>= 1;
  }
  return profile.copy_start + static_cast<int>(moved * range / to_move);
}

int copy_progress_of_percentages(const ProgressProfile& profile,
                                 const std::vector<std::optional<double>>& percent,
                                 std::size_t expected_disks) {
  if (expected_disks == 0) return profile.copy_end;
  double sum = 0;
  for (const std::optional<double>& one : percent) {
    if (one && std::isfinite(*one)) sum += std::clamp(*one, 0.0, 100.0);
  }
  const double range = profile.copy_end - profile.copy_start;
  const double product = sum * range / (100.0 * static_cast<double>(expected_disks));
  return std::min(profile.copy_end, profile.copy_start + static_cast<int>(product));
}

std::optional<int> raised_progress(std::optional<std::string_view> current, int next) {
  next = std::clamp(next, kLowest, kHighest);
  // An absent annotation means "not started", so that the 0 of the first step is written.
  if (!current || next > parse_percent(*current)) return next;
  return std::nullopt;
}

}  // namespace vmferry::imports
