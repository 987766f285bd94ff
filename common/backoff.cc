#include "common/backoff.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace vmferry {

std::chrono::milliseconds Backoff::delay(int attempt, double random) const {
  const double factor_power = std::pow(factor, std::max(0, std::min(attempt, 64) - 1));
  const double full =
      std::min(static_cast<double>(first.count()) * factor_power, static_cast<double>(cap.count()));
  return std::chrono::milliseconds(std::llround(full * (1.0 - spread * random)));
}

double random_unit() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return std::uniform_real_distribution<double>(0.0, 1.0)(generator);
}

}  // namespace vmferry
