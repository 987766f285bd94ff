#include "agent/rate_meter.h"

#include <cmath>

namespace vmferry {

double RateMeter::update(std::uint64_t bytes, SteadyTime now) {
  const double elapsed = Seconds(now - last_time_).count();
  if (!started_ || bytes < last_bytes_) {
    rate_ = 0;
  } else if (elapsed <= 0) {
    return rate_;
  } else {
    const double current = static_cast<double>(bytes - last_bytes_) / elapsed;
    const double keep = std::exp(-elapsed / kSeconds);
    rate_ = keep * rate_ + (1 - keep) * current;
    if (rate_ < 1) rate_ = 0;
  }
  started_ = true;
  last_bytes_ = bytes;
  last_time_ = now;
  return rate_;
}

}  // namespace vmferry
