#include <algorithm>
#include <cmath>
#include <utility>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/fleet/job_table.h"

// What the table makes of the agents' messages. Each may come twice, late, or not at all.
namespace vmferry {
namespace {

constexpr std::chrono::seconds kBlockRefusing{3};
constexpr std::uint64_t kLeastProgress = 16 * kMiB;
constexpr std::chrono::minutes kMostBusy{60};  // a source that others hold, a backup perhaps
constexpr std::chrono::seconds kAskBusyAgain{30};

JobOutcome outcome_of(const protocol::JobStatus& status) {
  JobOutcome outcome;
  outcome.virtual_bytes = status.virtual_bytes;
  outcome.moved_bytes = status.moved_bytes;
  outcome.resumed_bytes = status.resumed_bytes;
  outcome.zero_bytes = status.zero_bytes;
  outcome.verified_bytes = status.verified_bytes;
  return outcome;
}

std::string percent(const protocol::JobStatus& status) {
  if (status.to_move_bytes == 0) return "0%";
  const double share =
      static_cast<double>(status.moved_bytes) / static_cast<double>(status.to_move_bytes);
  return fmt::format("{}%", std::lround(100 * std::min(1.0, share)));
}

bool has_ended(protocol::JobPhase phase) { return phase >= protocol::JobPhase::Done; }

}  // namespace

void JobTable::handle(const Received& received, SteadyTime now, Effects& effects) {
  if (const auto* hello = std::get_if<protocol::Hello>(&received.message)) {
    return on_hello(received, *hello, now, effects);
  }
  const auto id = by_peer_.find(received.peer);
  if (id == by_peer_.end()) {
    // Its Hello went to our predecessor, or was lost: ask for it.
    effects.push_back(SendMessage{received.peer,
                                  {},
                                  protocol::Welcome{protocol::kVersion, options_.coordinator,
                                                    options_.heartbeat_every, options_.lease}});
    return;
  }
  Agent& agent = agents_.at(id->second);
  agent.heard = now;
  std::visit(
      [&](const auto& message) {
        if constexpr (requires { on(agent, message, now, effects); }) {
          on(agent, message, now, effects);
        } else {
          effects.push_back(TellLog{LogLevel::Warn,
                                    "message of the wrong direction dropped",
                                    {{"agent", agent.id.value}}});
        }
      },
      received.message);
}

void JobTable::on_hello(const Received& received, const protocol::Hello& hello, SteadyTime now,
                        Effects& effects) {
  Agent& agent = agents_[hello.agent];
  agent.id = hello.agent;
  if (!agent.key.empty() && agent.key != received.key && alive(agent, now)) {
    effects.push_back(TellLog{LogLevel::Error,
                              "an agent's name is used with another key; refused",
                              {{"agent", hello.agent.value}}});
    return;
  }
  // Another name on the same connection: the old name is gone with its process.
  if (const auto before = by_peer_.find(received.peer);
      before != by_peer_.end() && before->second != hello.agent) {
    agents_[before->second].peer.clear();
  }
  if (agent.retired.contains(hello.incarnation)) {
    effects.push_back(TellLog{LogLevel::Error,
                              "two agents of one name; the older is refused and stops by its lease",
                              {{"agent", hello.agent.value}}});
    return;
  }
  const bool restarted = !agent.incarnation.empty() && agent.incarnation != hello.incarnation;
  const bool news = agent.peer != received.peer || restarted || agent.lost;
  if (restarted) agent.retired.insert(agent.incarnation);
  by_peer_.erase(agent.peer);
  by_peer_[received.peer] = hello.agent;
  agent.peer = received.peer;
  agent.key = received.key;
  agent.incarnation = hello.incarnation;
  agent.node = hello.node;
  agent.build = hello.build;
  agent.vddk = hello.vddk;
  agent.slots = hello.slots;
  agent.reported_free = hello.slots;
  agent.heard = now;
  agent.lost = false;
  effects.push_back(SendMessage{received.peer,
                                {},
                                protocol::Welcome{protocol::kVersion, options_.coordinator,
                                                  options_.heartbeat_every, options_.lease}});
  protocol::Limits limits;
  limits.agent_bytes_per_second = options_.agent_limit_bytes_per_second;
  effects.push_back(SendMessage{received.peer, {}, limits});
  if (news) {
    effects.push_back(TellLog{LogLevel::Info,
                              restarted ? "agent restarted" : "agent connected",
                              {{"agent", hello.agent.value}, {"node", hello.node}}});
  }
  // The lock on its state directory proves that the old process is gone, and with it its writers.
  const std::set<JobId> jobs = agent.jobs;
  for (const JobId& job : jobs) {
    Entry& entry = jobs_.at(job);
    if (entry.record.writer->incarnation == hello.incarnation) continue;
    remember(entry, hello.agent.value + ": restarted after " + percent(entry.status));
    retry(entry,
          coded_error(ErrorKind::Unavailable, code::kAgentLost, "agent {} restarted",
                      hello.agent.value),
          blame_for(entry) == Blame::Counts ? Blame::Counts : Blame::Nobody, now, effects);
  }
  agree(agent, hello.jobs, now, effects);
}

// Both sides' lists of jobs against each other.
void JobTable::agree(Agent& agent, const std::vector<protocol::JobStatus>& jobs, SteadyTime now,
                     Effects& effects) {
  std::set<JobId> listed;
  std::vector<const protocol::JobStatus*> foreign;
  for (const protocol::JobStatus& status : jobs) {
    listed.insert(status.job);
    if (has_ended(status.phase)) continue;  // its Done or Failed tells more
    if (Entry* entry = written_by(agent, status.job, status.attempt)) {
      if (!entry->accepted) {
        entry->accepted = true;
        changed(*entry, effects);
      }
      take_status(agent, *entry, status);
      continue;
    }
    foreign.push_back(&status);
  }
  if (!foreign.empty()) take_foreign(agent, foreign, now, effects);
  // Assignments that it does not know of: the message was lost. The same attempt may be said again.
  const auto patience = std::max<std::chrono::milliseconds>(std::chrono::milliseconds(500),
                                                            2 * options_.heartbeat_every);
  const std::set<JobId> mine = agent.jobs;
  for (const JobId& job : mine) {
    Entry& entry = jobs_.at(job);
    if (listed.contains(job) || now - entry.asked < patience) continue;
    if (!entry.cancel && entry.request) send_assign(entry, agent, now, effects);
  }
}

JobTable::Entry* JobTable::written_by(const Agent& agent, const JobId& job,
                                      protocol::Attempt attempt) {
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return nullptr;
  const JobRecord& record = found->second.record;
  const bool its = record.writer && record.writer->agent == agent.id &&
                   record.writer->incarnation == agent.incarnation && record.attempt == attempt;
  return its ? &found->second : nullptr;
}

bool JobTable::ended_on(const Agent& agent, const Entry& entry) {
  return entry.record.outcome && entry.last_agent == agent.id.value;
}

// Counters are absolute and never fall within an attempt, however late a report comes.
void JobTable::take_status(Agent& agent, Entry& entry, const protocol::JobStatus& status) {
  protocol::JobStatus merged = status;
  const protocol::JobStatus& before = entry.status;
  std::uint64_t own_before = 0;
  if (before.attempt == status.attempt && !before.job.empty()) {
    own_before = before.moved_bytes - std::min(before.moved_bytes, before.resumed_bytes);
    merged.virtual_bytes = std::max(merged.virtual_bytes, before.virtual_bytes);
    merged.to_move_bytes = std::max(merged.to_move_bytes, before.to_move_bytes);
    merged.to_move_final = merged.to_move_final || before.to_move_final;
    merged.moved_bytes = std::max(merged.moved_bytes, before.moved_bytes);
    merged.resumed_bytes = std::max(merged.resumed_bytes, before.resumed_bytes);
    merged.zero_bytes = std::max(merged.zero_bytes, before.zero_bytes);
    merged.verified_bytes = std::max(merged.verified_bytes, before.verified_bytes);
    merged.wire_bytes = std::max(merged.wire_bytes, before.wire_bytes);
    merged.retries = std::max(merged.retries, before.retries);
    merged.reconnects = std::max(merged.reconnects, before.reconnects);
  } else if (!before.job.empty()) {
    entry.best_moved = std::max(entry.best_moved, before.moved_bytes);
  }
  const std::uint64_t own = merged.moved_bytes - std::min(merged.moved_bytes, merged.resumed_bytes);
  agent.bytes_moved += own - std::min(own, own_before);
  if (own > 0) entry.busy_since.reset();  // its source was to be had since
  entry.status = std::move(merged);
}

void JobTable::on(Agent& agent, const protocol::Heartbeat& message, SteadyTime now,
                  Effects& effects) {
  if (message.incarnation != agent.incarnation || message.agent != agent.id) {
    // Another process of that name on this connection must introduce itself first.
    effects.push_back(SendMessage{agent.peer,
                                  {},
                                  protocol::Welcome{protocol::kVersion, options_.coordinator,
                                                    options_.heartbeat_every, options_.lease}});
    return;
  }
  agent.lost = false;
  agent.reported_free = message.free_slots;
  agent.bytes_per_second = message.bytes_per_second;
  agent.load = message.load;
  effects.push_back(
      SendMessage{agent.peer, {}, protocol::HeartbeatAck{options_.coordinator, message.sequence}});
  agree(agent, message.jobs, now, effects);
}

void JobTable::on(Agent& agent, const protocol::Accepted& message, SteadyTime, Effects& effects) {
  Entry* entry = written_by(agent, message.job, message.attempt);
  if (entry == nullptr || entry->accepted) return;
  entry->accepted = true;
  changed(*entry, effects);
}

void JobTable::on(Agent& agent, const protocol::Refused& message, SteadyTime now,
                  Effects& effects) {
  Entry* entry = written_by(agent, message.job, message.attempt);
  if (entry == nullptr) return;
  const Error error = message.error.to_error();
  const bool elsewhere = is_retryable(error.kind()) || error.kind() == ErrorKind::Aborted ||
                         error.kind() == ErrorKind::ResourceExhausted;
  effects.push_back(
      TellLog{LogLevel::Warn,
              "agent refused a job",
              {{"agent", agent.id.value}, {"job", message.job.value}, {"error", error.message()}}});
  if (!elsewhere) {
    JobOutcome outcome = outcome_of(entry->status);
    outcome.error = message.error;
    return close(*entry, std::move(outcome), effects);
  }
  entry->blocked[agent.id] = now + kBlockRefusing;
  retry(*entry, error, Blame::Nobody, now, effects);  // others may take it at once
}

void JobTable::on(Agent& agent, const protocol::JournalUpdate& message, SteadyTime,
                  Effects& effects) {
  if (Entry* entry = written_by(agent, message.job, message.attempt)) {
    JobRecord& record = entry->record;
    if (record.epoch != message.epoch || record.identity != message.identity) {
      // The target's new life is known before anything of it counts.
      record.epoch = message.epoch;
      record.identity = message.identity;
      effects.push_back(SaveRecord{record});
    }
    effects.push_back(StoreJournal{agent.peer, message});
    return;
  }
  // Of an attempt that is over: acknowledged, so that it is not sent again, but not believed.
  effects.push_back(
      SendMessage{agent.peer, message.job,
                  protocol::JournalAck{message.job, message.attempt, message.sequence, false}});
}

void JobTable::on(Agent& agent, const protocol::Done& message, SteadyTime, Effects& effects) {
  Entry* entry = written_by(agent, message.job, message.attempt);
  if (entry != nullptr) {
    take_status(agent, *entry, message.status);
    JobOutcome outcome = outcome_of(entry->status);
    outcome.digest = message.digest;
    outcome.verified = message.verified;
    outcome.source_digest_matched = message.source_digest_matched;
    outcome.seconds = message.seconds;
    outcome.owner = message.owner;
    remember(*entry, agent.id.value + ": done");
    close(*entry, std::move(outcome), effects);
  } else if (const auto found = jobs_.find(message.job);
             found != jobs_.end() && ended_on(agent, found->second)) {
    effects.push_back(SaveRecord{found->second.record});  // perhaps that failed the first time
  }
  effects.push_back(
      SendMessage{agent.peer, message.job, protocol::Forget{message.job, message.attempt}});
}

void JobTable::on(Agent& agent, const protocol::Failed& message, SteadyTime now, Effects& effects) {
  Entry* entry = written_by(agent, message.job, message.attempt);
  if (entry != nullptr) {
    take_status(agent, *entry, message.status);
    const Error error = message.error.to_error();
    // The agent itself gave up, or its own disk, not the transfer: that says nothing against the
    // import's disk.
    const bool agents_fault = error.code() == code::kAgentLost || error.code() == code::kJournalIo;
    remember(*entry, agent.id.value + ": " + error.message() + " after " + percent(entry->status));
    const bool stale = error.code() == code::kVerifyFailed && entry->status.resumed_bytes > 0;
    if (stale) {
      // What an earlier attempt had made durable is not there. Once more from the start: no agent
      // has a journal of this epoch.
      entry->record.epoch = random_hex_id();
      entry->record.identity.clear();
      retry(*entry, error, Blame::Counts, now, effects);
    } else if (is_retryable(error.kind())) {
      if (agents_fault) entry->blocked[agent.id] = now + kBlockRefusing;
      const Blame blame = agents_fault                     ? Blame::Nobody
                          : is_patient(*entry, error, now) ? Blame::Busy
                                                           : blame_for(*entry);
      retry(*entry, error, blame, now, effects);
    } else {
      JobOutcome outcome = outcome_of(entry->status);
      outcome.error = message.error;
      close(*entry, std::move(outcome), effects);
    }
  } else if (const auto found = jobs_.find(message.job);
             found != jobs_.end() && ended_on(agent, found->second)) {
    effects.push_back(SaveRecord{found->second.record});
  }
  effects.push_back(
      SendMessage{agent.peer, message.job, protocol::Forget{message.job, message.attempt}});
}

void JobTable::on(Agent& agent, const protocol::Cancelled& message, SteadyTime now,
                  Effects& effects) {
  const auto found = jobs_.find(message.job);
  if (found == jobs_.end()) return;
  Entry& entry = found->second;
  // Of this attempt only: the agent also confirms what it never had.
  if (written_by(agent, message.job, message.attempt) == nullptr) return;
  if (entry.cancel) {
    changed(entry, effects);
    drop(message.job, effects);
    return;
  }
  retry(entry, Error(ErrorKind::Aborted, "cancelled on the agent"), Blame::Nobody, now, effects);
}

void JobTable::on(Agent& agent, const protocol::RenewRequest& message, SteadyTime,
                  Effects& effects) {
  const Entry* const entry = written_by(agent, message.job, message.attempt);
  if (entry == nullptr) return;
  effects.push_back(AskRenewal{entry->record.provider, agent.peer, message});
}

// The attempt is over for good: no writer any more, and a stored outcome.
void JobTable::close(Entry& entry, JobOutcome outcome, Effects& effects) {
  const bool cancelled = entry.cancel;
  clear_writer(entry);
  changed(entry, effects);
  if (cancelled) return drop(JobId(entry.record.job), effects);
  effects.push_back(TellLog{outcome.error ? LogLevel::Error : LogLevel::Info,
                            outcome.error ? "transfer failed" : "transfer done",
                            {{"job", entry.record.job.value},
                             {"import", entry.record.import_key},
                             {"error", outcome.error ? outcome.error->message : std::string()},
                             {"bytes", outcome.moved_bytes}}});
  entry.record.outcome = std::move(outcome);
  entry.request.reset();  // and with it the secrets
  effects.push_back(SaveRecord{entry.record});
}

// An attempt that got further than all before it says nothing against the disk; however often a
// long transfer is interrupted, it will end.
JobTable::Blame JobTable::blame_for(const Entry& entry) {
  const bool progressed = entry.status.attempt == entry.record.attempt &&
                          entry.status.moved_bytes > entry.best_moved + kLeastProgress;
  return progressed ? Blame::Progressed : Blame::Counts;
}

// A source that is taken by others (a backup) for a while is waited for, not counted against.
bool JobTable::is_patient(Entry& entry, const Error& error, SteadyTime now) {
  if (error.code() != code::kDiskLocked) {
    entry.busy_since.reset();
    return false;
  }
  if (!entry.busy_since) entry.busy_since = now;
  return now - *entry.busy_since < kMostBusy;
}

// The attempt is over, and its writer gone. Another one follows unless too many failed.
void JobTable::retry(Entry& entry, const Error& why, Blame blame, SteadyTime now,
                     Effects& effects) {
  const AgentId agent = entry.record.writer->agent;
  if (entry.cancel) {
    changed(entry, effects);
    return drop(JobId(entry.record.job), effects);
  }
  clear_writer(entry);
  if (blame == Blame::Counts) ++entry.record.failures;
  if (entry.record.failures >= options_.attempts_per_job) {
    JobOutcome outcome = outcome_of(entry.status);
    outcome.error = protocol::WireError::from(
        why.with_context(fmt::format("after {} failed attempts", entry.record.failures)));
    return close(entry, std::move(outcome), effects);
  }
  entry.last_error = why.message();
  const Backoff backoff;
  entry.not_before = now;
  if (blame == Blame::Busy) {
    entry.not_before += kAskBusyAgain;
  } else if (blame != Blame::Nobody) {
    entry.not_before += backoff.delay(std::max(1, entry.record.failures), random_unit());
  }
  entry.status.bytes_per_second = 0;
  // A restarted or lost agent is as good as another; one where the transfer failed is not.
  entry.placement.avoid.insert(agent);
  effects.push_back(SaveRecord{entry.record});
  enqueue(entry);
  changed(entry, effects);
}

}  // namespace vmferry
