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

  // Changes nothing once `fence` (may be null) is closed: another's data may stand there.
  AllocateAhead(int fd, std::uint64_t size_bytes, const WriteFence* fence = nullptr)
      : fd_(fd), size_bytes_(size_bytes), fence_(fence) {}

  // Before a write. Allocates its window if the one before it is mostly written. Where that is
  // refused (no space, not supported) all is given back: the data itself may fit.
  void before_write(ByteRange range);
  // After the last write, or when the space is needed: punches what was allocated and not written,
  // and allocates no more. False when that failed; then the file is larger on disk than it need be
  // and otherwise right.
  bool give_back();
  // Whether any space was ever allocated here: only then can a lack of it be our doing.
  bool has_allocated();

 private:
  static constexpr std::uint64_t kUnitBytes = 64u << 10;
  static constexpr std::uint64_t kUnits = kWindowBytes / kUnitBytes;
  static constexpr std::uint64_t kMostlyWritten = kUnits * 3 / 4;

  struct Window {
    std::bitset<kUnits> written;  // or being written: touched at least
    bool allocated = false;
  };

  void allocate(std::uint64_t index, Window& window);
  bool give_back_all();
  bool give_back(std::uint64_t index, const Window& window) const;

  const int fd_;
  const std::uint64_t size_bytes_;
  const WriteFence* const fence_;
  // Held while allocating as well: the others' writes would only wait for the file's lock. And
  // while giving back: who is to write has marked its units by then, or does so afterwards.
  std::mutex mutex_;
  std::map<std::uint64_t, Window> windows_;  // those with data
  bool off_ = false;
  bool has_allocated_ = false;
};

}  // namespace vmferry
