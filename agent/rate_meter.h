#pragma once

#include <chrono>
#include <cstdint>

#include "common/clock.h"

namespace vmferry {

// Bytes per second of an absolute counter, smoothed: an average whose weights fall to 1/e in two
// seconds, long enough to hide the bursts of flushing, short enough to show a stall.
class RateMeter {
 public:
  // The counter's value now. A falling counter starts anew. Returns the rate.
  double update(std::uint64_t bytes, SteadyTime now);
  double rate() const { return rate_; }

 private:
  static constexpr double kSeconds = 2.0;
  bool started_ = false;
  std::uint64_t last_bytes_ = 0;
  SteadyTime last_time_{};
  double rate_ = 0;
};

}  // namespace vmferry
