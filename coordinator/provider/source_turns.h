#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/backoff.h"
#include "common/clock.h"
#include "common/error.h"
#include "coordinator/provider/waiting_line.h"

namespace vmferry {

// How many imports may be at one source at a time. A vCenter or an engine that takes connections
// and says nothing holds whoever asks it for up to two minutes; it must not hold everybody. A
// source is its API's scheme, host and port.
//
// At most `per_source` have a turn, and one until the source has answered for the first time. After
// a call that timed out nobody has one for a little while; then one has, until any call is
// answered. Sources that may be silent (never heard of, timed out, a call that is slow) have at
// most `at_silent` turns together. Turns are handed on in the order of arrival. Thread-safe.
class SourceTurns {
 public:
  struct Options {
    int per_source = 4;
    int at_silent = 8;
    // Called with who asked in vain, when there may be a turn for it. From any thread.
    std::function<void(const std::string& who)> wake;
  };
  // A call that takes longer is told to those that wait.
  static constexpr std::chrono::seconds kSlow{10};
  static constexpr Backoff kRest{.first = std::chrono::seconds(5), .cap = std::chrono::seconds(30)};
  // Of that many it is remembered that they have answered once.
  static constexpr std::size_t kRemembered = 1000;

  SourceTurns(Options options, const Clock& clock) : options_(std::move(options)), clock_(clock) {}

  // Given back by its destructor.
  class Turn {
   public:
    Turn(SourceTurns& turns, std::string source) : turns_(&turns), source_(std::move(source)) {}
    Turn(Turn&& other) noexcept;
    Turn& operator=(Turn&&) = delete;
    ~Turn();

   private:
    SourceTurns* turns_;
    std::string source_;
  };
  struct Wait {
    std::string why;  // for people; empty: others are there, and it will not be long
    std::chrono::nanoseconds after{};
  };
  // `source` is the API's URL, however it is spelt.
  std::variant<Turn, Wait> take(const std::string& source, const std::string& who);

  // Whether nobody should ask it now; for those that need no turn.
  bool rests(const std::string& source) const;

  // A call to the source from its beginning; end() tells how it went, by its error's kind. The
  // source's name outlives it.
  class Call {
   public:
    Call(SourceTurns& turns, const std::string& source);
    Call(const Call&) = delete;
    ~Call();
    void end(std::optional<ErrorKind> failure);

   private:
    SourceTurns& turns_;
    const std::string source_;
    std::uint64_t number_ = 0;
  };

 private:
  struct Source {
    int turns = 0;
    int timeouts = 0;       // on end
    bool answered = false;  // once
    SteadyTime rests_until{};
    std::map<std::uint64_t, SteadyTime> calls;  // under way, by number, since when
    WaitingLine waiting;
  };
  using Woken = std::vector<std::string>;
  bool may_be_silent(const Source& source, SteadyTime now) const;
  int turns_at_silent(SteadyTime now) const;
  int most_turns(const Source& source) const;
  void give_back(const std::string& source);
  // The next ones that wait there, as many as have room; and of a source that was held back.
  void wake_next(const std::string& source, SteadyTime now, Woken& woken);
  void wake_held_back(SteadyTime now, Woken& woken);
  void call_ended(const std::string& source, std::uint64_t number,
                  std::optional<ErrorKind> failure);
  void tell(const Woken& woken) const;
  void forget_if_idle(const std::string& source);

  const Options options_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::map<std::string, Source> sources_;
  std::deque<std::string> held_back_;  // sources without a turn because of other silent ones
  std::uint64_t last_call_ = 0;
};

// "https://vcenter.example.com:443" for every spelling of the same; the URL itself if it is none.
std::string source_key(std::string_view url);

}  // namespace vmferry
