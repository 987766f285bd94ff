#pragma once

#include <chrono>
#include <map>
#include <string>

#include "common/clock.h"
#include "common/guarded.h"

namespace vmferry::imports {

// How often an import may write its mere progress, so that all that copy at once write no more than
// kWritesPerSecond: with a few each as often as its settings say, with hundreds less often.
// Thread-safe.
class ProgressPace {
 public:
  static constexpr int kWritesPerSecond = 8;
  static constexpr std::chrono::seconds kCounts{60};  // who has not asked for longer has ended

  // For the import `uid`, which wants to write now; at least `base`.
  std::chrono::nanoseconds interval(const std::string& uid, std::chrono::nanoseconds base,
                                    SteadyTime now);

 private:
  struct Writers {
    std::map<std::string, SteadyTime> last_asked;
    SteadyTime swept{};
  };
  Guarded<Writers> writers_;
};

}  // namespace vmferry::imports
