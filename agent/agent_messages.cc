#include <algorithm>
#include <utility>

#include "agent/agent.h"
#include "common/catalogue.h"

// What the agent does with the coordinator's messages. Each may come twice or late.
namespace vmferry {
namespace {

constexpr std::uint64_t kMaxJournalBytes = 2ull << 30;  // a disk of 64 TiB with 32-byte digests

}  // namespace

void Agent::handle(const protocol::Message& message) {
  std::visit(
      [this](const auto& m) {
        if constexpr (requires { on(m); }) {
          on(m);
        } else {
          log_.debug("message of the wrong direction dropped");
        }
      },
      message);
}

void Agent::on(const protocol::Welcome& message) {
  if (message.coordinator != coordinator_) {
    log_.info("connected to the coordinator", {{"coordinator", message.coordinator}});
    parts_.clear();  // the rest will not come
    // It may know nothing of our journals. Its acknowledgement tells.
    for (auto& [job, task] : tasks_) {
      if (task.job) task.outbox.tell_epoch_again();
    }
  }
  coordinator_ = message.coordinator;
  heartbeat_every_ = std::clamp(message.heartbeat_every, std::chrono::milliseconds(20),
                                std::chrono::milliseconds(60'000));
  lease_.set_duration(message.lease);
  // A Welcome that answers no Hello of ours: the coordinator is new and does not know us.
  if (!std::exchange(hello_outstanding_, false)) {
    say_hello();
    return;
  }
  next_heartbeat_ = clock_.steady();  // at once: the lease starts with its acknowledgement
}

void Agent::on(const protocol::HeartbeatAck& message) {
  if (message.coordinator != coordinator_) return;
  // First the lease that was: we may have been frozen past its end just before this heartbeat left.
  check_lease();
  lease_.acknowledged(message.sequence);
  if (!lease_.end()) return;
  for (auto& [job, task] : tasks_) {
    if (task.job) task.job->extend_lease(*lease_.end());
  }
}

void Agent::on(const protocol::AssignJournal& message) {
  JournalParts& parts = parts_[message.job];
  if (message.part == 0)
    parts = JournalParts{.attempt = message.attempt, .parts = 0, .bytes = 0, .chunks = {}};
  // A gap: this Assign will not be complete, and the coordinator sends all of it again.
  if (parts.attempt != message.attempt || message.part != parts.parts) return;
  ++parts.parts;
  for (const std::string& chunks : message.chunks) {
    parts.bytes += chunks.size();
    if (parts.bytes <= kMaxJournalBytes) parts.chunks.push_back(chunks);
  }
}

void Agent::forget_parts(const JobId& job, protocol::Attempt attempt) {
  const auto parts = parts_.find(job);
  if (parts != parts_.end() && parts->second.attempt <= attempt) parts_.erase(parts);
}

// Why this assignment cannot be taken; nothing when it can.
std::optional<Error> Agent::refusal(const protocol::Assign& assign) const {
  if (leaving_ || draining_) {
    return Error(ErrorKind::Unavailable, "the agent takes no new jobs");
  }
  if (const Result<void> allowed = check_target(assign.target, options_.volumes); !allowed) {
    return allowed.error();
  }
  const auto known = tasks_.find(assign.job);
  const bool has_slot = known != tasks_.end() && (known->second.job || known->second.next);
  if (!has_slot && busy_slots() >= options_.slots) {
    return make_error(ErrorKind::ResourceExhausted, "all {} slots are busy", options_.slots);
  }
  return std::nullopt;
}

void Agent::on(protocol::Assign message) {
  const auto known = tasks_.find(message.job);
  if (known != tasks_.end()) {
    Task& task = known->second;
    // What came with an assignment that is no news is not kept.
    if (message.attempt <= task.attempt) parts_.erase(message.job);
    if (message.attempt < task.attempt) {
      const Error old = make_error(ErrorKind::Aborted, "attempt {} is older than {}",
                                   message.attempt, task.attempt);
      return send(protocol::Refused{message.job, message.attempt, protocol::WireError::from(old)});
    }
    if (message.attempt == task.attempt) {
      if (task.outcome) return report(task);
      return send(protocol::Accepted{message.job, message.attempt});
    }
    if (task.next && message.attempt <= task.next->assign.attempt) {
      return send(protocol::Accepted{message.job, task.next->assign.attempt});
    }
  }
  // Without a lease we may not write. The Assign comes again after the next heartbeat.
  if (!lease_.valid(clock_.boot())) return;
  std::vector<std::string> journal;
  if (message.journal_parts > 0) {
    const auto parts = parts_.find(message.job);
    if (parts == parts_.end() || parts->second.attempt != message.attempt ||
        parts->second.parts != message.journal_parts) {
      log_.warn("assignment without its whole journal dropped", {{"job", message.job.value}});
      return;
    }
    journal = std::move(parts->second.chunks);
  }
  parts_.erase(message.job);
  if (const std::optional<Error> no = refusal(message)) {
    return send(protocol::Refused{message.job, message.attempt, protocol::WireError::from(*no)});
  }
  send(protocol::Accepted{message.job, message.attempt});
  if (known != tasks_.end() && known->second.job) {
    // Never two writers, not even two of our own: the old attempt closes first.
    known->second.next = NextAttempt{std::move(message), std::move(journal)};
    stop_task(known->second, StopReason::Superseded);
    return;
  }
  start_task(std::move(message), std::move(journal));
}

void Agent::on(const protocol::JournalAck& message) {
  const auto task = tasks_.find(message.job);
  if (task == tasks_.end() || task->second.attempt != message.attempt) return;
  task->second.outbox.acknowledged(message.sequence);
  if (!task->second.job) return;
  const bool known = std::exchange(task->second.journal_known, true);
  if (message.is_first && known) task->second.job->tell_whole_journal();
  report(task->second);  // the window has room again
}

void Agent::on(const protocol::Forget& message) {
  forget_parts(message.job, message.attempt);
  const auto task = tasks_.find(message.job);
  if (task == tasks_.end() || task->second.job || task->second.attempt > message.attempt) return;
  const bool done =
      task->second.outcome && std::holds_alternative<protocol::Done>(*task->second.outcome);
  tasks_.erase(task);
  // The journal of a failed attempt stays: the next attempt may come back to this agent.
  if (done) remove_files(message.job);
}

void Agent::on(const protocol::Cancel& message) {
  forget_parts(message.job, message.attempt);
  const auto found = tasks_.find(message.job);
  if (found == tasks_.end()) {
    remove_files(message.job);
    return send(protocol::Cancelled{message.job, message.attempt});
  }
  Task& task = found->second;
  if (task.next && task.next->assign.attempt <= message.attempt) task.next.reset();
  if (task.attempt > message.attempt) {
    return send(protocol::Cancelled{message.job, message.attempt});
  }
  if (task.job) {
    if (!task.next) stop_task(task, StopReason::Cancelled);
    return;  // Cancelled follows when the target is closed
  }
  tasks_.erase(found);
  remove_files(message.job);
  send(protocol::Cancelled{message.job, message.attempt});
}

void Agent::on(const protocol::Renewed& message) {
  if (Task* task = running(message.job, message.attempt)) task->job->renewal().answer(message);
}

void Agent::on(const protocol::Limits& message) {
  if (message.agent_bytes_per_second) apply_limit(*message.agent_bytes_per_second);
  if (message.slots && *message.slots > 0) options_.slots = *message.slots;
  for (const auto& [job, limit] : message.job_bytes_per_second) {
    const auto task = tasks_.find(JobId{job});
    if (task != tasks_.end() && task->second.job) task->second.job->set_limit(limit);
  }
}

void Agent::on(const protocol::Drain& message) {
  if (draining_ != message.on) log_.info(message.on ? "draining" : "no longer draining");
  draining_ = message.on;
}

}  // namespace vmferry
