#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "common/clock.h"

namespace vmferry {

// How long this agent may write (pure). The lease runs from the *sending* of the last acknowledged
// Heartbeat: the coordinator counts from hearing it, which is later, so however long messages lie
// around on the way, our lease ends first.
class Lease {
 public:
  void set_duration(std::chrono::milliseconds duration) { duration_ = duration; }
  void sent(std::uint64_t sequence, SteadyTime now) {
    sent_.emplace_back(sequence, now);
    if (sent_.size() > kMostOutstanding) sent_.pop_front();
  }
  void acknowledged(std::uint64_t sequence) {
    while (!sent_.empty() && sent_.front().first <= sequence) {
      if (sent_.front().first == sequence) start_ = sent_.front().second;
      sent_.pop_front();
    }
  }
  // When it ends; nothing before the first acknowledgement.
  std::optional<SteadyTime> end() const {
    return start_ ? std::optional(*start_ + duration_) : std::nullopt;
  }
  bool valid(SteadyTime now) const { return start_ && now < *start_ + duration_; }

 private:
  static constexpr std::size_t kMostOutstanding = 256;
  std::chrono::milliseconds duration_{0};
  std::deque<std::pair<std::uint64_t, SteadyTime>> sent_;
  std::optional<SteadyTime> start_;
};

}  // namespace vmferry
