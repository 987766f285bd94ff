#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "common/extent.h"
#include "transfer/copy.h"

namespace vmferry {

constexpr std::uint64_t chunk_count_of(std::uint64_t size_bytes) {
  return size_bytes / kChunkBytes + (size_bytes % kChunkBytes != 0 ? 1 : 0);
}

// 1 PiB. Whoever claims a larger disk is wrong, and memory that follows the size would be gone.
inline constexpr std::uint64_t kMostChunks = 1ull << 30;

// The bytes of chunk `index` of a disk: 1 MiB, the last one what is left.
constexpr ByteRange chunk_range(std::uint64_t index, std::uint64_t size_bytes) {
  const std::uint64_t offset = index * kChunkBytes;
  return {offset, std::min(kChunkBytes, size_bytes - offset)};
}

// One bit a chunk; set by workers while the checkpoint thread scans.
class ChunkBitmap {
 public:
  explicit ChunkBitmap(std::uint64_t count) : count_(count), words_((count + 63) / 64) {}

  std::uint64_t count() const { return count_; }
  bool test(std::uint64_t index) const {
    return (words_[index / 64].load(std::memory_order_acquire) >> (index % 64) & 1) != 0;
  }
  // Release: whoever sees the bit sees what was stored before it (the chunk's leaf).
  void set(std::uint64_t index) {
    words_[index / 64].fetch_or(std::uint64_t{1} << (index % 64), std::memory_order_release);
  }
  void clear(std::uint64_t index) {
    words_[index / 64].fetch_and(~(std::uint64_t{1} << (index % 64)), std::memory_order_release);
  }
  // The first index in [from, end) whose bit is `value`; `end` if there is none.
  std::uint64_t find(bool value, std::uint64_t from, std::uint64_t end) const {
    while (from < end) {
      std::uint64_t word = words_[from / 64].load(std::memory_order_acquire);
      if (!value) word = ~word;
      word >>= from % 64;
      if (word != 0) return std::min<std::uint64_t>(end, from + std::countr_zero(word));
      from = (from / 64 + 1) * 64;
    }
    return end;
  }
  // The first index at or after `from` whose bit is set here and not in `other`, a bitmap of the
  // same count; count() if there is none.
  std::uint64_t find_beyond(const ChunkBitmap& other, std::uint64_t from) const {
    while (from < count_) {
      const std::uint64_t word = (words_[from / 64].load(std::memory_order_acquire) &
                                  ~other.words_[from / 64].load(std::memory_order_acquire)) >>
                                 (from % 64);
      if (word != 0) return std::min<std::uint64_t>(count_, from + std::countr_zero(word));
      from = (from / 64 + 1) * 64;
    }
    return count_;
  }

 private:
  std::uint64_t count_;
  std::vector<std::atomic<std::uint64_t>> words_;
};

}  // namespace vmferry
