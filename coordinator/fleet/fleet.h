#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "common/channel.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/protocol.h"
#include "common/result.h"
#include "coordinator/fleet/job_records.h"
#include "coordinator/provider/source_budget.h"

namespace vmferry {

class AgentGate;

// One disk to be transferred, as the reconciler wants it. Submitting the same job again is how a
// level-based reconciler keeps it alive; a job that is not submitted is not started.
struct TransferRequest {
  JobId job;
  std::string import_key;  // namespace/name
  std::string ns;          // fairness is between namespaces
  std::string disk;
  int priority = 0;  // higher first
  std::uint64_t size_bytes = 0;
  std::string source_host;  // budget groups; empty: none
  SourceBudget budget{};    // what it takes of them
  std::string datastore;
  std::string provider;  // endpoint of the source
  DiskEndpoint source;
  protocol::TargetVolume target;
  std::vector<std::string> nodes;  // agents' nodes that can reach the target; empty: any
  bool compare_source_digest = false;
  std::uint64_t limit_bytes_per_second = 0;
};

enum class TransferState { Queued, Assigned, Running, Succeeded, Failed };

struct TransferView {
  JobId job;
  std::string import_key;
  std::string disk;
  TransferState state = TransferState::Queued;
  protocol::Attempt attempt = 0;
  std::string agent;  // where it runs or ran last
  protocol::JobStatus status;
  std::string digest;
  bool verified = false;
  bool source_digest_matched = false;
  double seconds = 0;
  std::string owner{};         // of the disk, where it is not the VM's; as in protocol::Done
  std::optional<Error> error;  // Failed: terminal, after bounded attempts on other agents
  std::string waiting_for;  // Queued: why ("no free slot", "agent-2 lost, lease runs out in 4 s")
  std::vector<std::string> history;  // "agent-2: lost after 34%", newest last, bounded
};

struct AgentView {
  AgentId agent;
  std::string node;
  bool connected = false;
  bool draining = false;
  std::uint32_t slots = 0, free_slots = 0;
  double bytes_per_second = 0;
  double load = 0;
  std::uint64_t bytes_moved = 0;  // since the coordinator started
  std::uint32_t jobs = 0;
  double seconds_since_heard = 0;
  std::string build;
  bool vddk = false;  // it can read disks through VMware's library
};

// What a renewal gave: the endpoint, and the host that serves its bytes by now; empty: as before.
struct RenewedSource {
  DiskEndpoint endpoint;
  std::string source_host = {};
};
// Asked by an agent's RenewRequest; runs on one of the fleet's renewal threads (one for each
// source at a time), may block for minutes.
using RenewHandler = std::function<Result<RenewedSource>(const JobId& job, std::stop_token stop)>;
// Called when a job's state changed, so that its import is reconciled: must not block.
using ChangeHandler = std::function<void(const std::string& import_key)>;

// All agents and all transfers: owns the channel's thread. What it needs to survive a restart is
// in records (attempts, epochs, outcomes not yet collected), and in `state_directory`, journals,
// without which agents are asked for theirs; what runs it learns from the agents' hellos before it
// assigns anything. Thread-safe.
class Fleet {
 public:
  struct Options {
    std::string state_directory;
    std::string bind = "tcp://127.0.0.1:*";
    CurveKeys keys;
    std::optional<std::set<std::string>> allowed_agents;  // public keys
    AgentGate* gate =
        nullptr;  // where keys prove nothing: looks at every hello; outlives the fleet
    JobRecords* records = nullptr;  // null: files of state_directory
    // Asked before anything is sent; false: be silent, another coordinator acts. Empty: always.
    std::function<bool()> may_act;
    std::chrono::milliseconds heartbeat_every{500};
    std::chrono::milliseconds lease{5000};
    std::chrono::milliseconds settle{2000};  // after start: wait for hellos before assigning
    int attempts_per_job = 5;                // terminal Failed after that many failed ones
    std::uint64_t agent_limit_bytes_per_second = 0;
    int jobs_per_datastore = 8;
    int jobs_per_provider = 40;
    int jobs_per_source_host = 8;  // an ESXi host's memory for reads is small
    std::uint64_t bytes_per_source_host = 32u << 20;
    int connections_per_source_host = 8;  // TLS is its bottleneck
    int connections_per_provider = 8;
    RenewHandler renew;
    ChangeHandler changed;
  };
  static Result<std::unique_ptr<Fleet>> start(Options options, const Clock& clock,
                                              const Logger& log, std::stop_token stop = {});
  ~Fleet();

  std::string address() const;

  // Queues the transfer or updates a queued one's request; a no-op for one that runs or has ended.
  void submit(const TransferRequest& request);
  // Stops and forgets it; true when no agent can write its target any more.
  bool cancel(const JobId& job);
  // The outcome was stored by the reconciler: forget the job, journals included.
  void forget(const JobId& job);

  std::optional<TransferView> transfer(const JobId& job) const;
  std::vector<TransferView> transfers() const;
  std::vector<AgentView> agents() const;
  // Whether agents() can be believed to list all that run: agents say hello some moments after our
  // start.
  bool settled() const;
  // What the gate said of hellos since the start; all zero without one.
  struct GateCounts {
    std::uint64_t admitted = 0, refused = 0;
    std::uint64_t unanswered = 0;  // it could not be found out
    std::uint64_t waiting = 0;     // now
    friend bool operator==(const GateCounts&, const GateCounts&) = default;
  };
  GateCounts gate_counts() const;
  // By agents that agents() does not list any more.
  std::uint64_t bytes_moved_by_forgotten() const;
  void set_agent_limit(std::uint64_t bytes_per_second);

 private:
  struct Impl;
  explicit Fleet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmferry
