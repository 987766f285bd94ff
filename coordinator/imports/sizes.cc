#include "coordinator/imports/sizes.h"

#include <cmath>
#include <limits>

#include "common/bytes.h"

namespace vmferry::imports {

namespace {

// CDI's own default, taken for a configured value that is no share of a volume.
constexpr double kDefaultOverhead = 0.055;

}  // namespace

std::uint64_t claim_size(std::uint64_t disk_bytes, double overhead, bool block) {
  constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max() / kMiB * kMiB;
  if (disk_bytes > kLargest - kMiB)
    return kLargest;  // no such disk exists; do not wrap to a small one
  const std::uint64_t rounded = round_up(disk_bytes, kMiB);
  if (block || overhead == 0) return rounded;
  if (!(overhead > 0 && overhead < 1)) overhead = kDefaultOverhead;
  const double size = std::ceil(static_cast<double>(rounded) / (1 - overhead));
  if (size >= static_cast<double>(kLargest)) return kLargest;
  return static_cast<std::uint64_t>(size);
}

double overhead_for(const ClusterFacts& facts, const std::string& storage_class) {
  if (!facts.overhead_known) return 0;
  const auto found = facts.overhead_by_class.find(storage_class);
  return found == facts.overhead_by_class.end() ? facts.overhead_global : found->second;
}

}  // namespace vmferry::imports
