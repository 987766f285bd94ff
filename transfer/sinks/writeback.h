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
  // fdatasync of the descriptor; 0, or the first error that the kernel reported to anybody here. It
  // reports a lost write once for each descriptor: what the waiting thread was told, no later
  // fdatasync would be.
  int sync();

 private:
  void run(std::stop_token stop);
  void note(int error_number);

  const int fd_;
  std::mutex waiting_;  // for the kernel to write: one report of an error goes to one of us
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<ByteRange> behind_;
  std::uint64_t behind_bytes_ = 0;
  std::atomic<int> error_{0};
  std::jthread thread_;  // last: starts when all else stands
};

}  // namespace vmferry
