#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <set>
#include <stop_token>

#include "common/clock.h"
#include "common/result.h"

namespace vmferry {

// A token bucket as a pure value: bytes per second with a burst of at most `burst_seconds`.
// rate 0 means unlimited.
struct TokenBucket {
  double rate = 0;
  double burst_seconds = 0.25;
  double tokens = 0;
  SteadyTime updated{};

  void refill(SteadyTime now);
  // Takes `bytes`, going into debt; the answer is how long the taker must wait.
  std::chrono::nanoseconds take(std::uint64_t bytes, SteadyTime now);
  void set_rate(double bytes_per_second, SteadyTime now);
};

// One limit shared by all workers of all disks that belong to it. Changes take effect within a
// second; waiters are served in order of arrival, so disks share fairly.
class Throttle {
 public:
  explicit Throttle(const Clock& clock, std::uint64_t bytes_per_second = 0,
                    Throttle* parent = nullptr);
  ~Throttle();
  Throttle(const Throttle&) = delete;
  Throttle& operator=(const Throttle&) = delete;
  // Returns when `bytes` may be moved. Canceled when stopped.
  Result<void> acquire(std::uint64_t bytes, std::stop_token stop);
  void set_rate(std::uint64_t bytes_per_second);
  std::uint64_t rate() const;
  // The lowest of its own rate and those above it; 0: none is set.
  std::uint64_t limit() const;
  // The same with an equal part for each that shares those above it: what this one may count on
  // when all want something. At least 1 where a limit is set.
  std::uint64_t share() const;

 private:
  Result<void> acquire_piece(std::uint64_t bytes, const std::stop_token& stop);
  Result<void> acquire_here(std::uint64_t bytes, const std::stop_token& stop);
  void serve_next();

  const Clock& clock_;
  Throttle* parent_;
  std::atomic<std::uint64_t> children_{0};
  std::mutex turn_;  // of a disk's workers at the parent
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  TokenBucket bucket_;
  std::uint64_t next_ticket_ = 0;
  std::uint64_t serving_ = 0;
  std::set<std::uint64_t> abandoned_;  // tickets whose owners were stopped
};

}  // namespace vmferry
