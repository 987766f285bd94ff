#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>

#include "common/extent.h"

namespace vmferry {

// Keeps a buffered writer from filling the page cache: writing starts at once, and a thread of its
// own waits for what is 256 MiB behind and drops it. Without it a container's memory limit makes
// the kernel throttle the writers (nbd-and-sinks.md 6.2). Gives no durability.
class Writeback {
 public:
  explicit Writeback(int fd);

  void written(ByteRange range);
  // The first error that the kernel reported to us, 0 if none; such an error would not be reported
  // to a later fdatasync on the same descriptor, so flush() must ask here.
  int error() const { return error_; }

 private:
  void run(std::stop_token stop);

  const int fd_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<ByteRange> behind_;
  std::uint64_t behind_bytes_ = 0;
  std::atomic<int> error_{0};
  std::jthread thread_;  // last: starts when all else stands
};

}  // namespace vmferry
