#pragma once

#include <atomic>
#include <cstdint>

#include "common/clock.h"
#include "common/result.h"

namespace vmferry {

// Until when a target may be written. Whoever writes under a lease may be frozen (SIGSTOP, a paused
// or suspended machine) with its workers in the middle of a chunk, and wake up when the target
// belongs to another. So nothing is decided ahead: each system call that changes a target asks
// right before. What a fence cannot hold back is the one call that a thread was frozen in between
// asking and calling, and pages that the kernel already holds dirty; direct I/O has none.
// Thread-safe.
class WriteFence {
 public:
  // Open until `end`, a time of the clock's boot(). `clock` outlives the fence.
  WriteFence(const Clock& clock, SteadyTime end)
      : clock_(clock), end_(end.time_since_epoch().count()) {}

  // Moves the end; a fence that has closed stays closed, for the target may have a new writer.
  void extend_until(SteadyTime end);
  // Unavailable with VMF-XFER-AGENT-LOST when it is closed.
  Result<void> check() const;

 private:
  bool is_open() const;

  const Clock& clock_;
  std::atomic<SteadyTime::rep> end_;
};

// No fence: all may be written.
inline Result<void> check_fence(const WriteFence* fence) {
  return fence == nullptr ? Result<void>() : fence->check();
}

}  // namespace vmferry
