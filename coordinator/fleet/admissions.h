#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/channel.h"
#include "common/clock.h"
#include "common/protocol.h"
#include "coordinator/fleet/agent_gate.h"
#include "coordinator/fleet/fleet.h"

namespace vmferry {

// Which connections the job table hears, and which are told anything: those whose hello the gate
// let in, for as long as that counts. Messages, answers and time in, verdicts out; no I/O. A
// refused one is met with silence. Not thread-safe.
//
// An agent that is in stays in while its next hello is looked at, and while nobody can look at it:
// an API server that is away stops no copy before the token has run out.
class Admissions {
 public:
  static constexpr std::chrono::seconds kRefusedFor{5};    // another hello is not even looked at
  static constexpr std::chrono::seconds kRetryAfter{1};    // the gate could not find out
  static constexpr std::chrono::seconds kAskEvery{5};      // for a new hello
  static constexpr std::chrono::seconds kForgetAfter{60};  // who never got in
  // Who did, and is silent; long after the job table has: JobTable::kForgetMover, kForgetAgent.
  static constexpr std::chrono::minutes kForgetMover{20};
  static constexpr std::chrono::hours kForgetAgent{25};
  static constexpr std::size_t kMostWaiting = 256;
  static constexpr std::size_t kMostStrangers = 4096;

  struct Verdict {
    bool hear = false;  // give it to the table
    bool ask = false;   // ask the gate, then call answered()
  };
  Verdict judge(const Received& received, SteadyTime now);

  struct Admitted {
    std::optional<Received> hello;  // which the table has not seen yet
    bool news = false;              // worth a line in the log
    AgentId agent;
  };
  // PermissionDenied ends what the connection had; after other errors that goes on.
  Admitted answered(const std::string& peer, const Result<AgentPass>& pass, SteadyTime now);

  // Who has to say hello again now: it will show its token as it is by then.
  std::vector<std::string> to_greet(SteadyTime now);

  bool may_hear_us(const std::string& peer, SteadyTime now) const;
  const Fleet::GateCounts& counts() const { return counts_; }

 private:
  struct Place {
    AgentId agent;
    std::string node;
    SteadyTime until, check_at;
  };
  struct Guest {
    std::optional<Place> place;    // what the gate said last, also when it has run out
    std::optional<Received> held;  // the hello that the gate is asked about
    bool asking = false;
    bool was_heard = false;  // the held hello
    std::string last_refusal;
    SteadyTime not_before{}, seen{}, greeted{};
  };
  static bool is_in(const Guest& guest, SteadyTime now) {
    return guest.place && now < guest.place->until;
  }
  void forget_strangers(SteadyTime now);

  std::map<std::string, Guest> guests_;  // by peer: a process of an agent
  std::size_t placed_ = 0;               // of them, those that have or had a place
  Fleet::GateCounts counts_;
  SteadyTime swept_{};
};

}  // namespace vmferry
