#include "coordinator/provider/source_turns.h"

#include <algorithm>
#include <utility>

#include "common/http_client.h"

namespace vmferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kLookAgain{500};  // should nobody wake those that wait
constexpr milliseconds kLookAgainEach{5};
constexpr seconds kLookAgainAtMost{5};

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

}  // namespace

std::string source_key(std::string_view url) {
  const auto parts = parse_url(url);
  if (!parts) return std::string(url);
  const std::string scheme = lower(parts->scheme);
  const int usual = scheme == "http" ? 80 : 443;
  return fmt::format("{}://{}:{}", scheme, lower(parts->host),
                     parts->port == 0 ? usual : parts->port);
}

SourceTurns::Turn::Turn(Turn&& other) noexcept
    : turns_(std::exchange(other.turns_, nullptr)), source_(std::move(other.source_)) {}

SourceTurns::Turn::~Turn() {
  if (turns_ != nullptr) turns_->give_back(source_);
}

bool SourceTurns::may_be_silent(const Source& source, SteadyTime now) const {
  if (!source.answered || source.timeouts > 0) return true;
  // Numbered as they began.
  return !source.calls.empty() && now - source.calls.begin()->second > kSlow;
}

int SourceTurns::turns_at_silent(SteadyTime now) const {
  int turns = 0;
  for (const auto& [name, source] : sources_) {
    if (source.turns > 0 && may_be_silent(source, now)) turns += source.turns;
  }
  return turns;
}

int SourceTurns::most_turns(const Source& source) const {
  return !source.answered || source.timeouts > 0 ? 1 : std::max(1, options_.per_source);
}

std::variant<SourceTurns::Turn, SourceTurns::Wait> SourceTurns::take(const std::string& url,
                                                                     const std::string& who) {
  const std::string name = source_key(url);
  const std::lock_guard lock(mutex_);
  const SteadyTime now = clock_.steady();
  Source& source = sources_[name];
  if (now < source.rests_until) {
    source.waiting.leave(who);
    const auto left = source.rests_until - now;
    // Not all at the same moment: one of them will have a turn.
    const auto spread = std::chrono::duration_cast<milliseconds>(seconds(1) * random_unit());
    return Wait{"it takes connections but does not answer; it is asked again within half a minute",
                left + spread};
  }
  const int room = most_turns(source) - source.turns - source.waiting.called_before(who, now);
  const bool is_held_back =
      may_be_silent(source, now) && turns_at_silent(now) >= std::max(1, options_.at_silent);
  if (room > 0 && !is_held_back) {
    source.waiting.leave(who);
    ++source.turns;
    return std::variant<Turn, Wait>(std::in_place_type<Turn>, *this, name);
  }
  source.waiting.join(who);
  Wait wait;
  wait.after = std::min<std::chrono::nanoseconds>(
      kLookAgain + kLookAgainEach * source.waiting.size(), kLookAgainAtMost);
  if (!source.calls.empty() && now - source.calls.begin()->second > kSlow) {
    wait.why = "it has not answered for a while, and others are asking it";
    wait.after = kLookAgainAtMost;
  } else if (room > 0) {
    wait.why = "it has not answered yet, and as many others as may be do not answer";
    wait.after = kLookAgainAtMost;
    if (std::ranges::find(held_back_, name) == held_back_.end()) held_back_.push_back(name);
  }
  return wait;
}

void SourceTurns::wake_next(const std::string& name, SteadyTime now, Woken& woken) {
  const auto found = sources_.find(name);
  if (found == sources_.end() || now < found->second.rests_until) return;
  Source& source = found->second;
  const int called = source.waiting.called_before("", now);
  for (int room = most_turns(source) - source.turns - called; room > 0; --room) {
    auto next = source.waiting.call(now);
    if (!next) return;
    woken.push_back(*std::move(next));
  }
}

void SourceTurns::wake_held_back(SteadyTime now, Woken& woken) {
  int room = std::max(1, options_.at_silent) - turns_at_silent(now);
  for (; room > 0 && !held_back_.empty(); --room) {
    const std::string name = std::exchange(held_back_.front(), {});
    held_back_.pop_front();
    wake_next(name, now, woken);
  }
}

void SourceTurns::tell(const Woken& woken) const {
  if (!options_.wake) return;
  for (const std::string& who : woken) options_.wake(who);
}

void SourceTurns::give_back(const std::string& name) {
  Woken woken;
  {
    const std::lock_guard lock(mutex_);
    const SteadyTime now = clock_.steady();
    --sources_.at(name).turns;
    // A source that others wait for longer comes before this one's next.
    wake_held_back(now, woken);
    wake_next(name, now, woken);
    forget_if_idle(name);
  }
  tell(woken);
}

bool SourceTurns::rests(const std::string& url) const {
  const std::string name = source_key(url);
  const std::lock_guard lock(mutex_);
  const auto source = sources_.find(name);
  return source != sources_.end() && clock_.steady() < source->second.rests_until;
}

void SourceTurns::forget_if_idle(const std::string& name) {
  const auto found = sources_.find(name);
  const Source& source = found->second;
  if (source.answered && sources_.size() <= kRemembered) return;
  if (source.turns == 0 && source.timeouts == 0 && source.calls.empty() && source.waiting.empty()) {
    sources_.erase(found);
  }
}

SourceTurns::Call::Call(SourceTurns& turns, const std::string& source)
    : turns_(turns), source_(source_key(source)) {
  const std::lock_guard lock(turns_.mutex_);
  number_ = ++turns_.last_call_;
  turns_.sources_[source_].calls.emplace(number_, turns_.clock_.steady());
}

SourceTurns::Call::~Call() { end(ErrorKind::Canceled); }

void SourceTurns::Call::end(std::optional<ErrorKind> failure) {
  const std::uint64_t number = std::exchange(number_, 0);
  if (number != 0) turns_.call_ended(source_, number, failure);
}

void SourceTurns::call_ended(const std::string& name, std::uint64_t number,
                             std::optional<ErrorKind> failure) {
  Woken woken;
  {
    const std::lock_guard lock(mutex_);
    const SteadyTime now = clock_.steady();
    Source& source = sources_.at(name);
    source.calls.erase(number);
    if (failure == ErrorKind::DeadlineExceeded) {
      // Of several that hang together the first counts.
      if (now >= source.rests_until) {
        source.rests_until = now + kRest.delay(++source.timeouts, random_unit());
      }
    } else if (failure != ErrorKind::Canceled) {
      // Some answer it is, a refused connection too.
      const bool is_news = !source.answered || source.timeouts > 0;
      source.answered = true;
      source.timeouts = 0;
      source.rests_until = {};
      if (is_news) {
        wake_next(name, now, woken);
        wake_held_back(now, woken);
      }
    }
    forget_if_idle(name);
  }
  tell(woken);
}

}  // namespace vmferry
