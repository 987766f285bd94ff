#include "coordinator/imports/progress_pace.h"

#include <algorithm>

namespace vmferry::imports {

std::chrono::nanoseconds ProgressPace::interval(const std::string& uid,
                                                std::chrono::nanoseconds base, SteadyTime now) {
  auto writers = writers_.lock();
  writers->last_asked[uid] = now;
  if (now - writers->swept > std::chrono::seconds(10)) {
    writers->swept = now;
    std::erase_if(writers->last_asked, [&](const auto& one) { return now - one.second > kCounts; });
  }
  const auto share = std::chrono::nanoseconds(std::chrono::seconds(1)) / kWritesPerSecond;
  return std::max(base, share * static_cast<std::int64_t>(writers->last_asked.size()));
}

}  // namespace vmferry::imports
