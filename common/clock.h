#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>

#include "common/result.h"

namespace vmferry {

using WallTime = std::chrono::system_clock::time_point;
using SteadyTime = std::chrono::steady_clock::time_point;
using Seconds = std::chrono::duration<double>;

// Where time comes from. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime wall() const = 0;
  virtual SteadyTime steady() const = 0;
  // As steady(), but it goes on while the machine is suspended: for leases, which others count in
  // real time. Not comparable with steady().
  virtual SteadyTime boot() const { return steady(); }
  // Waits; false when `stop` was requested before the time was over.
  virtual bool sleep(std::chrono::nanoseconds time, std::stop_token stop) const = 0;
};

// The machine's clocks.
class SystemClock final : public Clock {
 public:
  WallTime wall() const override;
  SteadyTime steady() const override;
  SteadyTime boot() const override;
  bool sleep(std::chrono::nanoseconds time, std::stop_token stop) const override;
};

// A clock that tests move; sleep() advances it and returns at once.
class FakeClock final : public Clock {
 public:
  WallTime wall() const override;
  SteadyTime steady() const override;
  bool sleep(std::chrono::nanoseconds time, std::stop_token stop) const override;
  void advance(std::chrono::nanoseconds time) const;

 private:
  mutable std::atomic<std::int64_t> nanoseconds_{1'700'000'000'000'000'000};
};

// RFC 3339 in UTC: "2026-01-31T12:00:00Z" (Kubernetes' metav1.Time), and with microseconds.
std::string to_rfc3339(WallTime time);
std::string to_rfc3339_micro(WallTime time);
Result<WallTime> parse_rfc3339(std::string_view text);

}  // namespace vmferry
