#pragma once

#include <optional>
#include <string>

#include "common/clock.h"
#include "coordinator/cluster/election.h"

// What a coordinator's probes answer: why it is not well; nothing: it is. Pure.
namespace vmferry::cluster {

// How the thread that looks after the lease is doing; SteadyTime{}: never yet.
struct LeaseLooks {
  SteadyTime started;    // of the process
  SteadyTime last_try;   // it set out to read the lease
  SteadyTime last_look;  // it has read it
  bool lost = false;     // we have led, and do no more
};

// Liveness: an API server that is away is no reason to be started again; a thread that hangs is.
std::optional<std::string> unhealthy(const LeaseLooks& looks, SteadyTime now,
                                     const ElectionSettings& settings);
// Readiness: of a standby too.
std::optional<std::string> unready(const LeaseLooks& looks, SteadyTime now,
                                   const ElectionSettings& settings);

}  // namespace vmferry::cluster
