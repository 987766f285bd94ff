#include "coordinator/provider/source_turns.h"

#include <algorithm>
#include <utility>

namespace vmferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kLookAgain{500};  // should nobody wake those that wait
constexpr milliseconds kLookAgainEach{5};
constexpr seconds kLookAgainAtMost{5};

}  // namespace

SourceTurns::Turn::Turn(Turn&& other) noexcept
    : turns_(std::exchange(other.turns_, nullptr)), source_(std::move(other.source_)) {}

SourceTurns::Turn::~Turn() {
  if (turns_ != nullptr) turns_->give_back(source_);
}

std::variant<SourceTurns::Turn, SourceTurns::Wait> SourceTurns::take(const std::string& name,
                                                                     const std::string& who) {
  const std::lock_guard lock(mutex_);
  const SteadyTime now = clock_.steady();
  Source& source = sources_[name];
  source.waiting.erase(who);
  if (now < source.rests_until) {
    const auto left = source.rests_until - now;
    // Not all at the same moment: one of them will have a turn.
    const auto spread = std::chrono::duration_cast<milliseconds>(seconds(1) * random_unit());
    return Wait{"it takes connections but does not answer; it is asked again within half a minute",
                left + spread};
  }
  const int most = source.timeouts > 0 ? 1 : std::max(1, options_.per_source);
  if (source.turns < most) {
    ++source.turns;
    return std::variant<Turn, Wait>(std::in_place_type<Turn>, *this, name);
  }
  source.waiting.insert(who);
  Wait wait;
  wait.after = std::min<std::chrono::nanoseconds>(
      kLookAgain + kLookAgainEach * source.waiting.size(), kLookAgainAtMost);
  if (!source.calls.empty()) {
    const auto silent = now - source.calls.begin()->second;  // numbered as they began
    if (silent > kSlow) {
      wait.why = "it has not answered for a while, and others are asking it";
      wait.after = kLookAgainAtMost;
    }
  }
  return wait;
}

void SourceTurns::give_back(const std::string& name) {
  std::string next;
  {
    const std::lock_guard lock(mutex_);
    Source& source = sources_.at(name);
    --source.turns;
    if (!source.waiting.empty() && clock_.steady() >= source.rests_until) {
      next = *source.waiting.begin();
      source.waiting.erase(source.waiting.begin());
    }
    forget_if_idle(name);
  }
  if (!next.empty() && options_.wake) options_.wake(next);
}

bool SourceTurns::rests(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto source = sources_.find(name);
  return source != sources_.end() && clock_.steady() < source->second.rests_until;
}

void SourceTurns::forget_if_idle(const std::string& name) {
  const auto found = sources_.find(name);
  const Source& source = found->second;
  if (source.turns == 0 && source.timeouts == 0 && source.calls.empty() && source.waiting.empty()) {
    sources_.erase(found);
  }
}

SourceTurns::Call::Call(SourceTurns& turns, const std::string& source)
    : turns_(turns), source_(source) {
  const std::lock_guard lock(turns_.mutex_);
  number_ = ++turns_.last_call_;
  turns_.sources_[source_].calls.emplace(number_, turns_.clock_.steady());
}

SourceTurns::Call::~Call() { end(ErrorKind::Canceled); }

void SourceTurns::Call::end(std::optional<ErrorKind> failure) {
  const std::uint64_t number = std::exchange(number_, 0);
  if (number == 0) return;
  const std::lock_guard lock(turns_.mutex_);
  const SteadyTime now = turns_.clock_.steady();
  Source& source = turns_.sources_.at(source_);
  source.calls.erase(number);
  if (failure == ErrorKind::DeadlineExceeded) {
    // Of several that hang together the first counts.
    if (now >= source.rests_until) {
      source.rests_until = now + kRest.delay(++source.timeouts, random_unit());
    }
  } else if (failure != ErrorKind::Canceled) {
    source.timeouts = 0;  // some answer it is, a refused connection too
    source.rests_until = {};
  }
  turns_.forget_if_idle(source_);
}

}  // namespace vmferry
