#include <algorithm>
#include <utility>

#include "common/catalogue.h"
#include "coordinator/fleet/job_table.h"

// What the table does as time passes: gives up silent agents, places the queue, repeats itself.
namespace vmferry {
namespace {

constexpr std::chrono::milliseconds kRepeatCancel{500};

}  // namespace

void JobTable::tick(SteadyTime now, Effects& effects) {
  lose_silent_agents(now, effects);
  forget_gone_agents(now, effects);
  repeat_cancels(now, effects);
  assign_queued(now, effects);
}

void JobTable::lose_silent_agents(SteadyTime now, Effects& effects) {
  for (auto& [id, agent] : agents_) {
    const auto silent = now - agent.heard;
    if (silent <= options_.lease) continue;
    if (!agent.lost) {
      agent.lost = true;
      effects.push_back(TellLog{LogLevel::Warn,
                                "agent is silent",
                                {{"agent", id.value}, {"seconds", Seconds(silent).count()}}});
      for (const JobId& job : agent.jobs) changed(jobs_.at(job), effects);
    }
    const std::set<JobId> jobs = agent.jobs;
    for (const JobId& job : jobs) {
      Entry& entry = jobs_.at(job);
      if (silent <= fence_after(entry)) continue;
      const protocol::JobStatus& status = entry.status;
      const auto share = status.to_move_bytes == 0
                             ? 0
                             : std::min<std::uint64_t>(100, status.moved_bytes / 1024 * 100 /
                                                                (status.to_move_bytes / 1024 + 1));
      remember(entry, fmt::format("{}: lost after {}%", id.value, share));
      const Blame blame = blame_for(entry) == Blame::Counts ? Blame::Counts : Blame::Nobody;
      retry(entry,
            coded_error(ErrorKind::Unavailable, code::kAgentLost, "agent {} is lost", id.value),
            blame, now, effects);
    }
  }
}

// Their names may only be forgotten with their last job: it would have a writer that nobody knows.
void JobTable::forget_gone_agents(SteadyTime now, Effects& effects) {
  std::erase_if(agents_, [&](const auto& item) {
    const Agent& agent = item.second;
    const bool mover = protocol::is_mover_node(agent.node);
    const auto limit =
        mover ? SteadyTime::duration(kForgetMover) : SteadyTime::duration(kForgetAgent);
    if (!agent.lost || !agent.jobs.empty() || now - agent.heard <= limit) return false;
    effects.push_back(TellLog{LogLevel::Info, "agent is forgotten", {{"agent", item.first.value}}});
    forgotten_bytes_ += agent.bytes_moved;
    by_peer_.erase(agent.peer);
    return true;
  });
}

void JobTable::repeat_cancels(SteadyTime now, Effects& effects) {
  for (const auto& [id, agent] : agents_) {
    for (const JobId& job : agent.jobs) {
      Entry& entry = jobs_.at(job);
      if (!entry.cancel || now - entry.asked < kRepeatCancel) continue;
      entry.asked = now;
      effects.push_back(SendMessage{agent.peer, job, protocol::Cancel{job, entry.record.attempt}});
    }
  }
}

std::vector<PlacementAgent> JobTable::placement_agents(SteadyTime now) const {
  std::vector<PlacementAgent> agents;
  for (const auto& [id, agent] : agents_) {
    if (!alive(agent, now) || agent.draining) continue;
    const auto used = static_cast<std::uint32_t>(agent.jobs.size());
    agents.push_back({id, agent.node, agent.slots - std::min(agent.slots, used), agent.vddk});
  }
  return agents;
}

std::vector<PlacementRunning> JobTable::placement_running() const {
  std::vector<PlacementRunning> running;
  for (const auto& [id, agent] : agents_) {
    for (const JobId& job : agent.jobs) {
      const JobRecord& record = jobs_.at(job).record;
      running.push_back({id, record.import_key, record.ns, record.datastore, record.provider,
                         record.source_host, record.budget});
    }
  }
  return running;
}

void JobTable::assign_queued(SteadyTime now, Effects& effects) {
  // Until then an agent may still report what it runs.
  if (queue_.empty() || !settled(now)) return;
  const std::vector<PlacementAgent> agents = placement_agents(now);
  if (std::none_of(agents.begin(), agents.end(), [](const auto& a) { return a.free_slots > 0; })) {
    return;
  }
  if (now < next_placement_) return;
  // A look at a queue of a hundred thousand takes some 40 ms: not more than a tenth of the time.
  next_placement_ = now + std::chrono::microseconds(5 * queue_.size());
  std::vector<const PlacementJob*> ready;
  ready.reserve(queue_.size());
  for (const PlacementJob* job : queue_) {
    Entry& entry = jobs_.at(job->job);
    if (now < entry.not_before) continue;
    std::erase_if(entry.blocked, [&](const auto& block) { return block.second <= now; });
    // Not part of the order, so it may change inside the queue.
    entry.placement.blocked.clear();
    for (const auto& [agent, until] : entry.blocked) entry.placement.blocked.insert(agent);
    ready.push_back(job);
  }
  for (const Assignment& assignment :
       place(ready, agents, placement_running(), options_.limits, served_)) {
    Entry& entry = jobs_.at(assignment.job->job);
    Agent& agent = agents_.at(assignment.agent);
    dequeue(entry);
    ++entry.record.attempt;
    set_writer(entry, agent);
    send_assign(entry, agent, now, effects);
    changed(entry, effects);
  }
}

// The record first: an attempt number that left this process is never used again.
void JobTable::send_assign(Entry& entry, const Agent& agent, SteadyTime now, Effects& effects) {
  const TransferRequest& request = *entry.request;
  entry.asked = now;
  protocol::Assign assign;
  assign.job = request.job;
  assign.attempt = entry.record.attempt;
  assign.import_key = request.import_key;
  assign.disk = request.disk;
  assign.source = request.source;
  assign.target = request.target;
  assign.compare_source_digest = request.compare_source_digest;
  assign.limit_bytes_per_second = request.limit_bytes_per_second;
  assign.epoch = entry.record.epoch;
  assign.identity = entry.record.identity;
  effects.push_back(SaveRecord{entry.record});
  effects.push_back(SendAssign{agent.peer, std::move(assign)});
}

}  // namespace vmferry
