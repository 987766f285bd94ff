#include <algorithm>

#include "coordinator/fleet/job_table.h"

// Agents that say that they run what our records do not give to them. They are told to stop; beyond
// that, little of it is believed.
namespace vmferry {
namespace {

// Of one report, and held at once. An agent has fewer slots.
constexpr std::size_t kMostForeign = 64;
// Of an agent's word alone. No job comes near, and counting on from there never wraps around.
constexpr protocol::Attempt kHighestBelieved = 1'000'000;

}  // namespace

void JobTable::take_foreign(Agent& agent, const std::vector<const protocol::JobStatus*>& foreign,
                            SteadyTime now, Effects& effects) {
  effects.push_back(TellLog{LogLevel::Warn,
                            "agent runs what it should not; cancelled",
                            {{"agent", agent.id.value},
                             {"job", foreign.front()->job.value},
                             {"attempt", std::uint64_t{foreign.front()->attempt}},
                             {"jobs", std::uint64_t{foreign.size()}}}});
  const std::size_t count = std::min(foreign.size(), kMostForeign);
  for (std::size_t i = 0; i < count; ++i) {
    const protocol::JobStatus& status = *foreign[i];
    take_foreign(agent, status, now);
    effects.push_back(
        SendMessage{agent.peer, status.job, protocol::Cancel{status.job, status.attempt}});
  }
}

void JobTable::take_foreign(Agent& agent, const protocol::JobStatus& status, SteadyTime now) {
  if (const auto found = jobs_.find(status.job); found != jobs_.end()) {
    Entry& entry = found->second;
    // Our record of it may have been lost and begun anew: the agent would refuse lower attempts.
    const bool may_be = entry.request && !entry.record.writer && !entry.record.outcome &&
                        reaches(agent.node, entry.placement.nodes);
    if (may_be && status.attempt <= kHighestBelieved) {
      entry.record.attempt = std::max(entry.record.attempt, status.attempt);
    }
    return;
  }
  // We have no record of a job that writes: its target is held until the agent has let go of it, or
  // until it turns out that the agent cannot reach it (submit()). A mover's target is in its own
  // pod, and nobody else can write to that.
  const auto held = std::ranges::count_if(
      agent.jobs, [&](const JobId& job) { return is_unknown(jobs_.at(job)); });
  if (protocol::is_mover_node(agent.node) || static_cast<std::size_t>(held) >= kMostForeign) return;
  Entry& entry = jobs_[status.job];
  entry.record.job = status.job;
  entry.record.attempt = std::min(status.attempt, kHighestBelieved);
  entry.placement.job = status.job;
  entry.cancel = true;
  set_writer(entry, agent);
  entry.asked = now;
}

}  // namespace vmferry
