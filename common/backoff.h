#pragma once

#include <chrono>

namespace vmferry {

// Exponential back-off with a cap. `spread` in [0,1) shortens a delay by up to that share.
struct Backoff {
  std::chrono::milliseconds first{500};
  double factor = 2.0;
  std::chrono::milliseconds cap{std::chrono::seconds(30)};
  double spread = 0.2;

  // The delay before try number `attempt` (1 = the first retry); `random` in [0,1) is the caller's.
  std::chrono::milliseconds delay(int attempt, double random = 0.0) const;
};

// A uniform number in [0,1) for Backoff.
double random_unit();

}  // namespace vmferry
