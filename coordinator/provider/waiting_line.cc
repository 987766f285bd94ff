#include "coordinator/provider/waiting_line.h"

#include <iterator>

namespace vmferry {

void WaitingLine::join(const std::string& who) {
  if (places_.contains(who)) return;
  places_.emplace(who, ++last_);
  line_.emplace(last_, who);
}

void WaitingLine::leave(const std::string& who) {
  const auto place = places_.find(who);
  if (place == places_.end()) return;
  line_.erase(place->second);
  called_.erase(place->second);
  places_.erase(place);
}

std::optional<std::string> WaitingLine::call(SteadyTime now) {
  forget_absent(now);
  // Those that were called and have not come are at the beginning, and few.
  for (const auto& [place, who] : line_) {
    if (called_.emplace(place, now).second) return who;
  }
  return std::nullopt;
}

int WaitingLine::called_before(const std::string& who, SteadyTime now) {
  forget_absent(now);
  const auto own = places_.find(who);
  const std::uint64_t before = own == places_.end() ? last_ + 1 : own->second;
  int count = 0;
  for (const auto& [place, since] : called_) {
    if (place < before && now - since < kPlaceKept) ++count;
  }
  return count;
}

void WaitingLine::forget_absent(SteadyTime now) {
  for (auto called = called_.begin(); called != called_.end();) {
    const auto next = std::next(called);
    if (now - called->second >= kForgotten) leave(std::string(line_.at(called->first)));
    called = next;
  }
}

}  // namespace vmferry
