#include "transfer/sinks/allocate_ahead.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>

namespace vmferry {
namespace {

// 0 or an errno.
int allocate_range(int fd, int mode, std::uint64_t offset, std::uint64_t length) {
  while (::fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(length)) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

}  // namespace

void AllocateAhead::before_write(ByteRange range) {
  if (range.empty() || range.end() > size_bytes_) return;
  const std::lock_guard lock(mutex_);
  const std::uint64_t last = (range.end() - 1) / kUnitBytes;
  for (std::uint64_t unit = range.offset / kUnitBytes; unit <= last;) {
    const std::uint64_t index = unit / kUnits;
    Window& window = windows_[index];
    for (; unit <= last && unit / kUnits == index; ++unit) window.written.set(unit % kUnits);
    if (off_ || window.allocated || index == 0) continue;
    const auto before = windows_.find(index - 1);
    if (before != windows_.end() && before->second.written.count() >= kMostlyWritten) {
      allocate(index, window);
    }
  }
}

void AllocateAhead::allocate(std::uint64_t index, Window& window) {
  if (!check_fence(fence_)) return;  // the write itself will tell
  const std::uint64_t offset = index * kWindowBytes;
  // Also after a failure: a part may have been allocated.
  window.allocated = true;
  has_allocated_ = true;
  const std::uint64_t length = std::min(kWindowBytes, size_bytes_ - offset);
  if (allocate_range(fd_, 0, offset, length) != 0) (void)give_back_all();
}

bool AllocateAhead::give_back() {
  const std::lock_guard lock(mutex_);
  return give_back_all();
}

bool AllocateAhead::has_allocated() {
  const std::lock_guard lock(mutex_);
  return has_allocated_;
}

bool AllocateAhead::give_back_all() {
  off_ = true;
  bool all = true;
  for (auto& [index, window] : windows_) {
    if (!window.allocated) continue;
    all = give_back(index, window) && all;
    window.allocated = false;
  }
  return all;
}

bool AllocateAhead::give_back(std::uint64_t index, const Window& window) const {
  const std::uint64_t base = index * kWindowBytes;
  const std::uint64_t end = std::min(kWindowBytes, size_bytes_ - base);
  bool all = true;
  for (std::uint64_t at = 0; at < end;) {
    const std::uint64_t from = at;
    while (at < end && !window.written.test(at / kUnitBytes)) at += kUnitBytes;
    if (at > from) {
      if (!check_fence(fence_)) return false;
      all = allocate_range(fd_, FALLOC_FL_PUNCH_HOLE, base + from, std::min(at, end) - from) == 0 &&
            all;
    }
    while (at < end && window.written.test(at / kUnitBytes)) at += kUnitBytes;
  }
  return all;
}

}  // namespace vmferry
