#include "coordinator/fleet/job_table.h"

#include <algorithm>
#include <utility>

#include "common/bytes.h"

namespace vmferry {
namespace {

constexpr std::size_t kHistory = 12;

}  // namespace

JobTable::JobTable(Options options, std::vector<JobRecord> records, SteadyTime now)
    : options_(std::move(options)), started_(now) {
  for (JobRecord& record : records) {
    Entry& entry = jobs_[record.job];
    entry.record = std::move(record);
    entry.placement.job = entry.record.job;
    if (!entry.record.writer || entry.record.outcome) continue;
    entry.last_agent = entry.record.writer->agent.value;
    // The writer may have heard from our predecessor until just now.
    Agent& agent = agents_[entry.record.writer->agent];
    agent.id = entry.record.writer->agent;
    agent.incarnation = entry.record.writer->incarnation;
    agent.heard = now;
    agent.jobs.insert(entry.record.job);
  }
}

// ---- the API ----

void JobTable::submit(const TransferRequest& request, Effects& effects) {
  Entry& entry = jobs_[request.job];
  if (is_unknown(entry) && entry.record.writer &&
      !reaches(agents_.at(entry.record.writer->agent).node, request.nodes)) {
    // Whoever says that it writes to this target cannot even reach it.
    clear_writer(entry);
    entry.cancel = false;
    entry.record.attempt = 0;
  }
  if (entry.record.outcome || entry.cancel) return;
  dequeue(entry);
  const bool is_new = !entry.request.has_value();
  if (!is_new && entry.record.writer &&
      entry.request->limit_bytes_per_second != request.limit_bytes_per_second) {
    protocol::Limits limits;
    limits.job_bytes_per_second[request.job.value] = request.limit_bytes_per_second;
    const Agent& agent = agents_[entry.record.writer->agent];
    effects.push_back(SendMessage{agent.peer, request.job, limits});
  }
  entry.request = request;
  JobRecord& record = entry.record;
  record.job = request.job;
  record.import_key = request.import_key;
  record.ns = request.ns;
  record.disk = request.disk;
  record.datastore = request.datastore;
  record.provider = request.provider;
  record.source_host = request.source_host;
  record.budget = request.budget;
  if (const auto floor = floors_.find(request.job); floor != floors_.end()) {
    record.attempt = std::max(record.attempt, floor->second);
  }
  if (entry.status.virtual_bytes == 0) entry.status.virtual_bytes = request.size_bytes;
  PlacementJob& placement = entry.placement;
  placement.job = request.job;
  placement.import_key = request.import_key;
  placement.ns = request.ns;
  placement.datastore = request.datastore;
  placement.provider = request.provider;
  placement.source_host = request.source_host;
  placement.budget = request.budget;
  placement.nodes = request.nodes;
  placement.priority = request.priority;
  placement.size_bytes = request.size_bytes;
  placement.disk = request.disk;
  placement.needs_vddk = request.source.kind == SourceKind::NbdkitVddk;
  const auto [arrival, first] = arrivals_.try_emplace(request.import_key, last_arrival_ + 1);
  if (first) ++last_arrival_;
  placement.arrival = arrival->second;
  enqueue(entry);
}

void JobTable::source_moved(const JobId& job, protocol::Attempt attempt, const std::string& host,
                            Effects& effects) {
  const auto found = jobs_.find(job);
  if (found == jobs_.end() || host.empty()) return;
  Entry& entry = found->second;
  JobRecord& record = entry.record;
  if (!record.writer || record.attempt != attempt || record.source_host == host) return;
  record.source_host = host;
  entry.placement.source_host = host;  // it is in no queue while it runs
  if (entry.request) entry.request->source_host = host;
  effects.push_back(SaveRecord{record});
}

bool JobTable::cancel(const JobId& job, Effects& effects) {
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return true;
  Entry& entry = found->second;
  if (!entry.record.writer) {
    drop(job, effects);
    return true;
  }
  if (!entry.cancel) {
    entry.cancel = true;
    const Agent& agent = agents_[entry.record.writer->agent];
    effects.push_back(SendMessage{agent.peer, job, protocol::Cancel{job, entry.record.attempt}});
  }
  return false;
}

void JobTable::forget(const JobId& job, Effects& effects) {
  const auto found = jobs_.find(job);
  // A writer is never forgotten: its target would look free.
  if (found == jobs_.end() || found->second.record.writer) return;
  drop(job, effects);
}

void JobTable::set_agent_limit(std::uint64_t bytes_per_second, Effects& effects) {
  options_.agent_limit_bytes_per_second = bytes_per_second;
  protocol::Limits limits;
  limits.agent_bytes_per_second = bytes_per_second;
  for (const auto& [id, agent] : agents_) {
    if (!agent.peer.empty()) effects.push_back(SendMessage{agent.peer, {}, limits});
  }
}

// ---- views ----

std::optional<TransferView> JobTable::transfer(const JobId& job, SteadyTime now) const {
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return std::nullopt;
  return view(found->second, now, placement_agents(now), placement_running());
}

std::vector<TransferView> JobTable::transfers(SteadyTime now) const {
  const std::vector<PlacementAgent> agents = placement_agents(now);
  const std::vector<PlacementRunning> running = placement_running();
  std::vector<TransferView> views;
  views.reserve(jobs_.size());
  for (const auto& [job, entry] : jobs_) views.push_back(view(entry, now, agents, running));
  return views;
}

TransferView JobTable::view(const Entry& entry, SteadyTime now,
                            const std::vector<PlacementAgent>& agents,
                            const std::vector<PlacementRunning>& running) const {
  const JobRecord& record = entry.record;
  TransferView view;
  view.job = record.job;
  view.import_key = record.import_key;
  view.disk = record.disk;
  view.attempt = record.attempt;
  view.agent = entry.last_agent;
  view.status = entry.status;
  view.history = record.history;
  if (record.outcome) {
    const JobOutcome& outcome = *record.outcome;
    view.state = outcome.error ? TransferState::Failed : TransferState::Succeeded;
    if (outcome.error) view.error = outcome.error->to_error();
    view.digest = outcome.digest;
    view.verified = outcome.verified;
    view.source_digest_matched = outcome.source_digest_matched;
    view.seconds = outcome.seconds;
    view.owner = outcome.owner;
    view.status.job = record.job;
    view.status.attempt = record.attempt;
    view.status.phase = outcome.error ? protocol::JobPhase::Failed : protocol::JobPhase::Done;
    view.status.virtual_bytes = outcome.virtual_bytes;
    view.status.to_move_bytes = std::max(view.status.to_move_bytes, outcome.moved_bytes);
    view.status.to_move_final = true;
    view.status.moved_bytes = outcome.moved_bytes;
    view.status.resumed_bytes = outcome.resumed_bytes;
    view.status.zero_bytes = outcome.zero_bytes;
    view.status.verified_bytes = outcome.verified_bytes;
    view.status.bytes_per_second = 0;
    return view;
  }
  const auto seconds = [](auto duration) {
    return human_duration(std::max(0.0, Seconds(duration).count()));
  };
  if (record.writer) {
    const Agent& agent = agents_.at(record.writer->agent);
    view.state = entry.accepted ? TransferState::Running : TransferState::Assigned;
    const auto silent = now - agent.heard;
    if (silent > options_.lease) {
      view.state = TransferState::Queued;
      view.status.bytes_per_second = 0;
      view.waiting_for = "agent " + agent.id.value + " is lost, its lease runs out in " +
                         seconds(fence_after(entry) - silent);
    }
    return view;
  }
  view.state = TransferState::Queued;
  view.status.bytes_per_second = 0;
  if (now < entry.not_before) {
    view.waiting_for = "next attempt in " + seconds(entry.not_before - now) +
                       (entry.last_error.empty() ? "" : ": " + entry.last_error);
  } else if (!settled(now)) {
    view.waiting_for = "agents to report what they run";
  } else {
    view.waiting_for = why_waiting(entry.placement, agents, running, options_.limits);
  }
  return view;
}

std::vector<AgentView> JobTable::agents(SteadyTime now) const {
  std::vector<AgentView> views;
  for (const auto& [id, agent] : agents_) {
    AgentView view;
    view.agent = id;
    view.node = agent.node;
    view.connected = alive(agent, now);
    view.draining = agent.draining;
    view.slots = agent.slots;
    view.jobs = static_cast<std::uint32_t>(agent.jobs.size());
    view.free_slots = view.connected ? agent.slots - std::min(agent.slots, view.jobs) : 0;
    view.bytes_per_second = view.connected ? agent.bytes_per_second : 0;
    view.load = agent.load;
    view.bytes_moved = agent.bytes_moved;
    view.seconds_since_heard = Seconds(now - agent.heard).count();
    view.build = agent.build;
    view.vddk = agent.vddk;
    views.push_back(std::move(view));
  }
  return views;
}

// ---- shared steps ----

void JobTable::set_writer(Entry& entry, Agent& agent) {
  entry.record.writer = Writer{agent.id, agent.incarnation, options_.lease};
  entry.last_agent = agent.id.value;
  agent.jobs.insert(entry.record.job);
}

void JobTable::clear_writer(Entry& entry) {
  if (!entry.record.writer) return;
  agents_[entry.record.writer->agent].jobs.erase(entry.record.job);
  entry.record.writer.reset();
  entry.accepted = false;
}

void JobTable::enqueue(Entry& entry) {
  if (entry.queued || !entry.request || entry.record.writer || entry.record.outcome) return;
  queue_.insert(&entry.placement);
  entry.queued = true;
}

void JobTable::dequeue(Entry& entry) {
  if (!entry.queued) return;
  queue_.erase(&entry.placement);
  entry.queued = false;
}

void JobTable::drop(const JobId& job, Effects& effects) {
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return;
  dequeue(found->second);
  clear_writer(found->second);
  const auto [floor, is_new] = floors_.try_emplace(job, found->second.record.attempt);
  floor->second = std::max(floor->second, found->second.record.attempt);
  if (is_new) floors_by_age_.push_back(job);
  if (floors_by_age_.size() > kMostFloors) {
    floors_.erase(floors_by_age_.front());
    floors_by_age_.pop_front();
  }
  const std::string import_key = found->second.record.import_key;
  jobs_.erase(found);
  const bool last = std::none_of(jobs_.begin(), jobs_.end(), [&](const auto& other) {
    return other.second.record.import_key == import_key;
  });
  if (last) arrivals_.erase(import_key);
  effects.push_back(RemoveJob{job});
}

void JobTable::changed(const Entry& entry, Effects& effects) const {
  if (!entry.record.import_key.empty()) effects.push_back(TellChange{entry.record.import_key});
}

void JobTable::remember(Entry& entry, std::string line) const {
  std::vector<std::string>& history = entry.record.history;
  history.push_back(std::move(line));
  if (history.size() > kHistory) history.erase(history.begin());
}

std::chrono::milliseconds JobTable::fence_after(const Entry& entry) const {
  return std::max(options_.lease, entry.record.writer->lease) + kFenceMargin;
}

bool JobTable::alive(const Agent& agent, SteadyTime now) const {
  return !agent.peer.empty() && now - agent.heard <= options_.lease;
}

}  // namespace vmferry
