#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "transfer/disk_source.h"
#include "transfer/journal.h"

namespace vmferry {

// The beginning of a read that succeeded: what a server that comes back must have as well.
struct ReadSample {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // 64 KiB or what the read or the disk has
  LeafDigest digest;         // xxh3-128
};

inline constexpr std::uint64_t kSampleBytes = 64u << 10;

// What makes a source's content doubtful: it was connected to anew, or, where no reply tells what
// file it is from, any trouble.
enum class Doubt { Reconnects, AnyTrouble };

// How many doubts there have been.
std::uint64_t doubts_about(const DiskSource& source, Doubt doubt);

// `source`, whose server may be restarted with another disk in the middle: a sample of its reads
// (at most 64, spread over all, none of zeros) is remembered, and `known` ones with them. After a
// doubt they are read again before anything that came since is believed: DataLoss with
// VMF-SRC-CHANGED when they differ. Costs nothing as long as the server stays. `known` were read
// when there had been `doubts_before`; nothing: as many as now.
std::unique_ptr<DiskSource> with_recheck(std::unique_ptr<DiskSource> source, Doubt doubt,
                                         std::vector<ReadSample> known = {},
                                         std::optional<std::uint64_t> doubts_before = {});

}  // namespace vmferry
