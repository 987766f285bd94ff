#include <utility>

#include "agent/agent.h"

// The life of the agent's jobs: started, heard of, stopped, ended.
namespace vmferry {

Agent::Task* Agent::running(const JobId& job, protocol::Attempt attempt) {
  const auto found = tasks_.find(job);
  if (found == tasks_.end() || !found->second.job || found->second.attempt != attempt) {
    return nullptr;
  }
  return &found->second;
}

void Agent::start_task(protocol::Assign assign, std::vector<std::string> journal) {
  const JobId job = assign.job;
  Task& task = tasks_[job];
  task = Task{};
  task.attempt = assign.attempt;
  task.outbox = JournalOutbox(job, assign.attempt);
  task.journal_known = !journal.empty();
  task.log = log_.with({{"job", job.value},
                        {"import", assign.import_key},
                        {"disk", assign.disk},
                        {"attempt", std::uint64_t{assign.attempt}}});
  task.status.job = job;
  task.status.attempt = assign.attempt;
  Result<std::string> journal_path = store_.prepare(job);
  if (!journal_path) {
    fail_task(task, job, as_journal_error(std::move(journal_path).error()));
    return report(task);
  }
  Job::Environment environment;
  environment.source.nbdkit_program = options_.nbdkit_program;
  environment.source.nbdkit_silence = options_.nbdkit_silence;
  environment.source.vddk_libdir = options_.vddk_libdir;
  environment.source.vddk_stand_in = options_.vddk_stand_in;
  environment.source.scratch_directory = store_.paths().scratch();
  environment.journal_path = *std::move(journal_path);
  environment.volumes = options_.volumes;
  environment.agent_throttle = &throttle_;
  environment.lease_end = *lease_.end();  // start_task() is only called with a valid lease
  environment.events = &events_;
  environment.clock = &clock_;
  environment.log = task.log;
  task.log.info("job started", {{"target", assign.target.name}});
  try {
    task.job = std::make_unique<Job>(std::move(assign), std::move(journal), std::move(environment));
  } catch (...) {  // no thread or no memory to be had: the jobs that run go on
    fail_task(task, job, caught_error("cannot start the job"));
    report(task);
  }
}

void Agent::fail_task(Task& task, const JobId& job, const Error& error) {
  task.log.warn("job failed", error);
  task.status.phase = protocol::JobPhase::Failed;
  task.outcome = protocol::Failed{job, task.attempt, task.status, protocol::WireError::from(error)};
}

void Agent::stop_task(Task& task, StopReason reason) {
  if (!task.job) return;
  // The first reason stands, but for a cancellation: nobody waits for the outcome then.
  if (task.reason == StopReason::None || reason == StopReason::Cancelled) task.reason = reason;
  task.job->stop();
}

void Agent::remove_files(const JobId& job) {
  if (const Result<void> removed = store_.remove(job); !removed) {
    log_.warn("cannot remove a job's files", removed.error(), {{"job", job.value}});
  }
}

void Agent::on(JobOpened event) {
  Task* task = running(event.job, event.attempt);
  if (task == nullptr) return;
  task->outbox.opened(std::move(event.epoch), std::move(event.identity), event.started_over);
  report(*task);
}

void Agent::on(const JobDurable& event) {
  Task* task = running(event.job, event.attempt);
  if (task == nullptr) return;
  task->outbox.add(event.chunks);
  report(*task);
}

void Agent::on(const JobAsks& event) {
  const auto found = tasks_.find(event.job);
  if (found != tasks_.end()) report(found->second);
}

void Agent::on(JobEnded event) {
  Task* task = running(event.job, event.attempt);
  if (task == nullptr) return;
  task->status = task->job->status();
  task->status.bytes_per_second = 0;
  task->status.note.clear();
  task->job.reset();
  if (task->next) {
    NextAttempt next = *std::move(task->next);
    // The lease may have ended meanwhile; the coordinator then assigns it again.
    const bool start = lease_.valid(clock_.boot()) && !stopping_;
    tasks_.erase(event.job);
    if (start) start_task(std::move(next.assign), std::move(next.journal));
    return;
  }
  if (task->reason == StopReason::Cancelled) {
    task->log.info("job cancelled");
    tasks_.erase(event.job);
    remove_files(event.job);
    return send(protocol::Cancelled{event.job, event.attempt});
  }
  if (event.result) {
    const CopyResult& result = *event.result;
    task->status.phase = protocol::JobPhase::Done;
    protocol::Done done;
    done.job = event.job;
    done.attempt = event.attempt;
    done.status = task->status;
    done.digest = result.digest;
    done.verified = result.verified;
    done.source_digest_matched = result.source_digest_matched;
    done.seconds = result.seconds;
    done.owner = event.owner;
    done.verify_seconds = result.verify_seconds;
    task->log.info("job done", {{"bytes", task->status.moved_bytes}, {"seconds", result.seconds}});
    task->outcome = std::move(done);
  } else {
    fail_task(*task, event.job, failure_to_tell(task->reason, std::move(event.result).error()));
  }
  report(*task);
}

}  // namespace vmferry
