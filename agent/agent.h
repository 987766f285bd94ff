#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/health.h"
#include "agent/job.h"
#include "agent/job_failure.h"
#include "agent/job_store.h"
#include "agent/journal_outbox.h"
#include "agent/lease.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mailbox.h"
#include "common/protocol.h"
#include "transfer/throttle.h"

namespace vmferry {

struct AgentOptions {
  std::string coordinator;  // "tcp://host:port"
  std::string server_key;   // its public key
  CurveKeys keys;
  AgentId id;
  std::string node;
  std::string state_directory;
  std::uint32_t slots = 4;
  std::uint64_t limit_bytes_per_second = 0;  // 0: none; the coordinator may only tighten it
  // Kubernetes: file with the projected service-account token, which the kubelet renews: read for
  // every Hello. Empty: none.
  std::string token_file;
  // File that server_key was read from; empty: none. When the coordinator does not answer and the
  // file holds another key, run() ends with Unavailable, to be started again with that.
  std::string server_key_file;
  std::string health_file;  // for the kubelet's probes (health.h); empty: none
  // How long jobs may go on after `stop`, before they are stopped at their journals.
  std::chrono::milliseconds drain_time{0};
  VolumeRules volumes;
  std::string nbdkit_program = "nbdkit";
  std::chrono::milliseconds nbdkit_silence{120'000};  // SourceEnvironment's
  std::string vddk_libdir;
  std::vector<std::string> vddk_stand_in;
  // Called when a job still writes 2.5 s after the lease ended: another agent may soon write the
  // same target, so the process must end at once. Empty: std::_Exit.
  std::function<void()> cannot_fence;
};

// The agent's control loop: one thread that owns the channel and all jobs' state; the jobs run
// beside it and answer through a mailbox.
class Agent {
 public:
  // Takes the state directory (Unavailable when another agent has it) and connects.
  static Result<std::unique_ptr<Agent>> create(AgentOptions options, const Clock& clock,
                                               const Logger& log);
  // Until `stop`; then takes no new jobs, and lets those that run end for `drain_time`. What runs
  // still is stopped, journals are saved, the coordinator is told; within 3 s.
  Result<void> run(std::stop_token stop);

 private:
  struct NextAttempt {
    protocol::Assign assign;
    std::vector<std::string> journal;
  };
  // A job from its Assign to its Forget.
  struct Task {
    protocol::Attempt attempt = 0;
    std::unique_ptr<Job> job;  // nothing once it has ended
    StopReason reason = StopReason::None;
    JournalOutbox outbox;
    bool journal_known = false;  // some coordinator has had chunks of this target
    protocol::JobStatus status;
    std::optional<NextAttempt> next;           // waits until this attempt is closed
    std::optional<protocol::Message> outcome;  // Done or Failed, told until forgotten
    Logger log;
  };
  struct JournalParts {
    protocol::Attempt attempt = 0;
    std::uint32_t parts = 0;
    std::uint64_t bytes = 0;
    std::vector<std::string> chunks;
  };

  Agent(AgentOptions options, JobStore store, std::unique_ptr<AgentChannel> channel,
        const Clock& clock, const Logger& log);

  // Messages of the coordinator.
  void handle(const protocol::Message& message);
  void on(const protocol::Welcome& message);
  void on(const protocol::HeartbeatAck& message);
  void on(protocol::Assign message);
  void on(const protocol::AssignJournal& message);
  void on(const protocol::JournalAck& message);
  void on(const protocol::Forget& message);
  void on(const protocol::Cancel& message);
  void on(const protocol::Renewed& message);
  void on(const protocol::Limits& message);
  void on(const protocol::Drain& message);

  // Events of the jobs.
  void on(const JobDurable& event);
  void on(JobOpened event);
  void on(const JobAsks& event);
  void on(JobEnded event);

  void start_task(protocol::Assign assign, std::vector<std::string> journal);
  void fail_task(Task& task, const JobId& job, const Error& error);
  void stop_task(Task& task, StopReason reason);
  void remove_files(const JobId& job);
  void forget_parts(const JobId& job, protocol::Attempt attempt);
  std::optional<Error> refusal(const protocol::Assign& assign) const;
  Task* running(const JobId& job, protocol::Attempt attempt);

  void tick();
  void leave();
  void tell_health();
  void check_lease();
  std::string token() const;
  Result<void> check_server_key();
  void say_hello();
  void say_heartbeat();
  void report(Task& task);
  void send(const protocol::Message& message);
  std::vector<protocol::JobStatus> statuses();
  std::uint32_t busy_slots() const;
  void apply_limit(std::uint64_t asked);
  bool farewell_done() const;
  std::chrono::milliseconds timeout() const;

  AgentOptions options_;
  JobStore store_;
  std::unique_ptr<AgentChannel> channel_;
  const Clock& clock_;
  Logger log_;
  const std::string incarnation_;
  const bool vddk_;  // it can read disks of kind NbdkitVddk
  Throttle throttle_;
  Mailbox<JobEvent> events_;

  std::string coordinator_;  // its incarnation; empty before the first Welcome
  bool hello_outstanding_ = false;
  SteadyTime hello_sent_{};
  SteadyTime next_heartbeat_{};
  SteadyTime next_key_check_{};
  std::chrono::milliseconds heartbeat_every_{1000};
  std::uint64_t heartbeat_sequence_ = 0;
  Lease lease_;
  bool fenced_ = false;
  bool draining_ = false;
  std::optional<SteadyTime> leaving_;   // asked to stop
  std::optional<SteadyTime> stopping_;  // and nothing may run any more
  HealthFile health_;
  bool health_failed_ = false;
  std::uint64_t garbage_seen_ = 0;
  std::map<JobId, JournalParts> parts_;  // of assignments to come; none without a lease
  std::map<JobId, Task> tasks_;          // last: jobs end before what they use
};

}  // namespace vmferry
