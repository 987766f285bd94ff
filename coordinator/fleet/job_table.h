#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "common/backoff.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/protocol.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/fleet/job_record.h"
#include "coordinator/fleet/placement.h"

namespace vmferry {

// What the table wants done: files, messages, calls. Carried out in order by the fleet's loop. When
// one fails for a job, the later ones for that job are left out; what matters is asked for again.
struct SaveRecord {
  JobRecord record;
};
struct RemoveJob {
  JobId job;
};
struct SendMessage {
  std::string peer;
  JobId job;  // empty: about no job
  protocol::Message message;
};
struct SendAssign {  // with the journal's parts before it; what the journal knows still missing
  std::string peer;
  protocol::Assign assign;
};
struct StoreJournal {  // then acknowledge it
  std::string peer;
  protocol::JournalUpdate update;
};
struct AskRenewal {
  std::string source;  // its endpoint
  std::string peer;
  protocol::RenewRequest request;
};
struct TellChange {
  std::string import_key;
};
struct TellLog {
  LogLevel level;
  std::string message;
  LogFields fields;
};
using Effect = std::variant<SaveRecord, RemoveJob, SendMessage, SendAssign, StoreJournal,
                            AskRenewal, TellChange, TellLog>;
using Effects = std::vector<Effect>;

// All jobs and agents as values: events in, effects out, no I/O, time passed in. Keeps the promise
// that a target never has two writers: a job is placed only when its record names no writer.
// Not thread-safe.
class JobTable {
 public:
  struct Options {
    std::string coordinator;  // our incarnation
    std::chrono::milliseconds heartbeat_every{500};
    std::chrono::milliseconds lease{5000};
    std::chrono::milliseconds settle{2000};
    int attempts_per_job = 5;
    std::uint64_t agent_limit_bytes_per_second = 0;
    PlacementLimits limits;
  };
  // Beyond the lease: an agent's workers stop within two seconds, and it leaves after 2.5.
  static constexpr std::chrono::milliseconds kFenceMargin{3000};

  // Agents that are silent for longer are forgotten: a mover's pod comes but once, a node may come
  // back. Admissions::kForget... are longer: nobody is known here whom the gate has forgotten.
  static constexpr std::chrono::minutes kForgetMover{10};
  static constexpr std::chrono::hours kForgetAgent{24};
  static constexpr std::size_t kMostFloors = 20'000;

  // `records` are those of the time before.
  JobTable(Options options, std::vector<JobRecord> records, SteadyTime now);

  // The API, as Fleet's.
  void submit(const TransferRequest& request, Effects& effects);
  // A renewal told that another host serves the attempt's bytes by now (empty: the same): it counts
  // against that one's limit from here on, also after a restart.
  void source_moved(const JobId& job, protocol::Attempt attempt, const std::string& host,
                    Effects& effects);
  bool cancel(const JobId& job, Effects& effects);
  void forget(const JobId& job, Effects& effects);
  void set_agent_limit(std::uint64_t bytes_per_second, Effects& effects);
  std::optional<TransferView> transfer(const JobId& job, SteadyTime now) const;
  std::vector<TransferView> transfers(SteadyTime now) const;
  std::vector<AgentView> agents(SteadyTime now) const;
  bool settled(SteadyTime now) const { return now - started_ >= options_.settle; }
  std::uint64_t bytes_moved_by_forgotten() const { return forgotten_bytes_; }

  // A message of an agent, and the passing of time (call some times a second).
  void handle(const Received& received, SteadyTime now, Effects& effects);
  void tick(SteadyTime now, Effects& effects);

 private:
  struct Entry {
    JobRecord record;
    std::optional<TransferRequest> request;  // nothing until submitted to this process
    PlacementJob placement;
    bool queued = false;  // in queue_
    bool cancel = false;
    bool accepted = false;  // the writer said that it has the job
    std::string last_agent;
    protocol::JobStatus status;
    std::uint64_t best_moved = 0;  // of all attempts: only more than that counts as progress
    SteadyTime not_before{};
    SteadyTime asked{};  // when Assign or Cancel was sent last
    std::string last_error;
    std::map<AgentId, SteadyTime> blocked;
    std::optional<SteadyTime> busy_since;  // its source is taken by others
  };
  struct Agent {
    AgentId id;
    std::string peer;  // empty: not connected since our start, or lost
    std::string key;
    std::string incarnation;
    std::string node;
    std::string build;
    std::uint32_t slots = 0;
    std::uint32_t reported_free = 0;
    double bytes_per_second = 0;
    double load = 0;
    std::uint64_t bytes_moved = 0;
    SteadyTime heard{};
    bool lost = false;
    bool draining = false;
    bool vddk = false;
    std::set<JobId> jobs;           // whose writer it is
    std::set<std::string> retired;  // incarnations that were replaced
  };

  // Messages (job_reports.cc).
  void on_hello(const Received& received, const protocol::Hello& hello, SteadyTime now,
                Effects& effects);
  void on(Agent& agent, const protocol::Heartbeat& message, SteadyTime now, Effects& effects);
  void on(Agent& agent, const protocol::Accepted& message, SteadyTime now, Effects& effects);
  void on(Agent& agent, const protocol::Refused& message, SteadyTime now, Effects& effects);
  void on(Agent& agent, const protocol::JournalUpdate& message, SteadyTime now, Effects& effects);
  void on(Agent& agent, const protocol::Done& message, SteadyTime now, Effects& effects);
  void on(Agent& agent, const protocol::Failed& message, SteadyTime now, Effects& effects);
  void on(Agent& agent, const protocol::Cancelled& message, SteadyTime now, Effects& effects);
  void on(Agent& agent, const protocol::RenewRequest& message, SteadyTime now, Effects& effects);
  void agree(Agent& agent, const std::vector<protocol::JobStatus>& jobs, SteadyTime now,
             Effects& effects);
  void take_status(Agent& agent, Entry& entry, const protocol::JobStatus& status);
  Entry* written_by(const Agent& agent, const JobId& job, protocol::Attempt attempt);
  static bool ended_on(const Agent& agent, const Entry& entry);
  void close(Entry& entry, JobOutcome outcome, Effects& effects);
  // Whether a failure counts against attempts_per_job, and whether the next attempt waits.
  enum class Blame { Counts, Progressed, Nobody, Busy };
  // May remove the entry.
  void retry(Entry& entry, const Error& why, Blame blame, SteadyTime now, Effects& effects);
  static Blame blame_for(const Entry& entry);
  static bool is_patient(Entry& entry, const Error& error, SteadyTime now);

  // What an agent runs without having been given it (foreign_jobs.cc).
  void take_foreign(Agent& agent, const std::vector<const protocol::JobStatus*>& foreign,
                    SteadyTime now, Effects& effects);
  void take_foreign(Agent& agent, const protocol::JobStatus& status, SteadyTime now);

  // Time (job_schedule.cc).
  void lose_silent_agents(SteadyTime now, Effects& effects);
  void forget_gone_agents(SteadyTime now, Effects& effects);
  void assign_queued(SteadyTime now, Effects& effects);
  void repeat_cancels(SteadyTime now, Effects& effects);
  void send_assign(Entry& entry, const Agent& agent, SteadyTime now, Effects& effects);
  std::vector<PlacementAgent> placement_agents(SteadyTime now) const;
  std::vector<PlacementRunning> placement_running() const;

  // Both (job_table.cc).
  // Known from an agent's report alone: nobody submitted it, and no record is stored.
  static bool is_unknown(const Entry& entry) {
    return entry.cancel && entry.record.import_key.empty();
  }
  void set_writer(Entry& entry, Agent& agent);
  void clear_writer(Entry& entry);
  void enqueue(Entry& entry);
  void dequeue(Entry& entry);
  void drop(const JobId& job, Effects& effects);
  void changed(const Entry& entry, Effects& effects) const;
  void remember(Entry& entry, std::string line) const;
  std::chrono::milliseconds fence_after(const Entry& entry) const;
  bool alive(const Agent& agent, SteadyTime now) const;
  TransferView view(const Entry& entry, SteadyTime now, const std::vector<PlacementAgent>& agents,
                    const std::vector<PlacementRunning>& running) const;

  Options options_;
  SteadyTime started_;
  std::map<JobId, Entry> jobs_;
  std::map<AgentId, Agent> agents_;
  std::map<std::string, AgentId> by_peer_;
  std::set<const PlacementJob*, PlacementOrder> queue_;
  std::map<std::string, std::uint64_t> arrivals_;  // of imports with jobs that have not ended
  std::uint64_t last_arrival_ = 0;
  std::map<JobId, protocol::Attempt> floors_;  // attempts of jobs that are gone: never used again
  std::deque<JobId> floors_by_age_;            // the oldest first: an import submits none so late
  std::uint64_t forgotten_bytes_ = 0;
  NamespaceBytes served_;
  SteadyTime next_placement_{};
};

}  // namespace vmferry
