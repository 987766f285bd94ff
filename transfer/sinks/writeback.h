#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>

#include "common/extent.h"

namespace vmferry {

// The durability of what goes through the page cache. Keeps a buffered writer from filling that:
// writing starts at once, and a thread of its own waits for what is 256 MiB behind and drops it.
// Without it a container's memory limit makes the kernel throttle the writers (nbd-and-sinks.md
// 6.2). Thread-safe.
class Writeback {
 public:
  explicit Writeback(int fd) : fd_(fd) {}

  // After a buffered write; the first one starts the thread. Gives no durability.
  void written(ByteRange range);
  // fdatasync of the descriptor; 0, or the first error that the kernel reported to anybody here,
  // now and for good. It reports a lost write once for each descriptor: what the waiting thread was
  // told, no later fdatasync would be.
  int sync();

 private:
  bool has_thread();
  void run(std::stop_token stop);
  void note_refusable(int error_number);
  void note(int error_number);

  const int fd_;
  std::mutex waiting_;  // for the kernel to write: one report of an error goes to one of us
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<ByteRange> behind_;
  std::uint64_t behind_bytes_ = 0;
  std::atomic<int> error_{0};
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace vmferry
