#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "common/handle.h"

namespace vmferry {

// Page-aligned memory that direct I/O takes, touched once so that the hot path meets no page fault.
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 2u << 20;  // a huge page, where the kernel gives one

  explicit AlignedBuffer(std::size_t bytes) : bytes_(bytes) {
    const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)));
    if (memory_ == nullptr) return;
    (void)::madvise(memory_.get(), rounded, MADV_HUGEPAGE);  // a hint: refusal costs only speed
    std::memset(memory_.get(), 0, bytes);
  }
  // False when there was no memory.
  explicit operator bool() const { return memory_ != nullptr; }
  std::span<std::byte> span() const { return {memory_.get(), bytes_}; }

 private:
  std::size_t bytes_;
  Owned<std::byte, std::free> memory_;
};

}  // namespace vmferry
