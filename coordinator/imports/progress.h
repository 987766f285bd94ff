#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace vmferry::imports {

// The progress annotation's milestones (api.md 9, DECISION-A5), in one table; 0..100, monotonic.
struct ProgressProfile {
  int start = 0, vm_built = 30, copy_start = 40, copy_end = 90, starting = 90, done = 100;
};
ProgressProfile design_profile(bool conversion_follows);
ProgressProfile upstream_profile();

// copy_start + floor(share * range): share is bytes moved of bytes to move over all disks.
int copy_progress(const ProgressProfile& profile, std::uint64_t moved, std::uint64_t to_move);
// The same from per-disk percentages (upstream's way; LC-60 to LC-69): missing disks count 0.
int copy_progress_of_percentages(const ProgressProfile& profile,
                                 const std::vector<std::optional<double>>& percent,
                                 std::size_t expected_disks);
// What to write: nothing when `next` is not higher than the annotation's value.
std::optional<int> raised_progress(std::optional<std::string_view> current, int next);

}  // namespace vmferry::imports
