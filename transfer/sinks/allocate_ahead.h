#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <mutex>

#include "common/extent.h"
#include "transfer/write_fence.h"

namespace vmferry {

// Gives a fresh sparse file its blocks a window ahead of the writers, where the writes so far say
// that the disk is full of data. Direct writes into holes take the file's lock exclusively on ext4
// and each pays for an allocation of its own; into allocated space they run side by side at half
// the CPU time (benchmarks/README.md). Allocated space still reads as zeros, and what was never
// written is given back at the end, so a sparse file stays sparse.
//
// Only for a file that nobody else writes to: what this object has not seen counts as empty.
class AllocateAhead {
 public:
  static constexpr std::uint64_t kWindowBytes = 128u << 20;

  AllocateAhead(int fd, std::uint64_t size_bytes) : fd_(fd), size_bytes_(size_bytes) {}

  // Before a write. Allocates its window if the one before it is mostly written. A refusal (no
  // space, not supported) only ends the allocating: the write itself will tell.
  void before_write(ByteRange range);
  // After the last write: punches what was allocated and not written. False when that failed; then
  // the file is larger on disk than it need be and otherwise right.
  // Stops when `fence` (may be null) is closed: another's data may stand there.
  bool give_back(const WriteFence* fence = nullptr);

 private:
  static constexpr std::uint64_t kUnitBytes = 64u << 10;
  static constexpr std::uint64_t kUnits = kWindowBytes / kUnitBytes;
  static constexpr std::uint64_t kMostlyWritten = kUnits * 3 / 4;

  struct Window {
    std::bitset<kUnits> written;  // or being written: touched at least
    bool allocated = false;
  };

  void allocate(std::uint64_t index, Window& window);
  bool give_back(std::uint64_t index, const Window& window, const WriteFence* fence) const;

  const int fd_;
  const std::uint64_t size_bytes_;
  // Held while allocating as well: the others' writes would only wait for the file's lock.
  std::mutex mutex_;
  std::map<std::uint64_t, Window> windows_;  // those with data
  bool off_ = false;
};

}  // namespace vmferry
