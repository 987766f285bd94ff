#pragma once

#include <algorithm>
#include <chrono>
#include <stop_token>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/result.h"

namespace vmferry::kube {

// So many requests a second, with a burst: our side of not overrunning an API server. Thread-safe;
// waiters are served in the order of their calls.
class RequestLimit {
 public:
  // per_second 0: no limit.
  RequestLimit(double per_second, double burst, const Clock& clock)
      : per_second_(per_second), burst_(std::max(burst, 1.0)), clock_(clock) {
    state_.lock()->tokens = burst_;
  }

  // Waits for its turn. DeadlineExceeded, at once, when that lies beyond `until`; Canceled.
  Result<void> take(SteadyTime until, std::stop_token stop);

 private:
  struct State {
    double tokens = 0;  // negative: promised to those who wait
    SteadyTime refilled{};
  };
  double per_second_;
  double burst_;
  const Clock& clock_;
  Guarded<State> state_;
};

}  // namespace vmferry::kube
