#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/endpoint.h"
#include "common/error.h"
#include "common/id.h"
#include "common/result.h"

// Every message between coordinator and agents. Plain structs; on the wire a msgpack map
// {"v": 1, "kind": "assign", ...fields}. A reader skips keys it does not know. Any message may be
// lost or come twice: commands carry job and attempt and are idempotent.
namespace vmferry::protocol {

inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::size_t kMaxMessageBytes = 16u << 20;  // refused before decoding
inline constexpr std::size_t kMaxJournalPartBytes =
    4u << 20;  // chunks of one Journal or AssignJournal

// A job's try number: an agent refuses lower ones, a coordinator ignores reports of lower ones.
using Attempt = std::uint32_t;

enum class JobPhase { Accepted, Opening, Copying, Flushing, Verifying, Done, Failed, Cancelled };
std::string_view to_string(JobPhase phase);

// Absolute counters of a job; see CopyProgress for the meaning of each.
struct JobStatus {
  JobId job;
  Attempt attempt = 0;
  JobPhase phase = JobPhase::Accepted;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t to_move_bytes = 0;
  bool to_move_final = false;
  std::uint64_t moved_bytes = 0;
  std::uint64_t resumed_bytes = 0;
  std::uint64_t zero_bytes = 0;
  std::uint64_t verified_bytes = 0;
  std::uint64_t wire_bytes = 0;
  std::uint64_t retries = 0;
  std::uint64_t reconnects = 0;
  double bytes_per_second = 0;  // smoothed over the last seconds
  std::string note;             // why it is slow or stalled: last healed error, "throttled", ...
  std::string via;              // a detour of the data, and why; empty: the source's usual way
  friend bool operator==(const JobStatus&, const JobStatus&) = default;
};

// An error on its way to a person.
struct WireError {
  ErrorKind kind = ErrorKind::Internal;
  std::string code;
  std::string message;
  static WireError from(const Error& error);
  Error to_error() const;
  friend bool operator==(const WireError&, const WireError&) = default;
};

// ---- agent to coordinator ----

// First message of a connection and after every Welcome with a new coordinator; lists all jobs that
// the agent runs, so that both sides agree again.
struct Hello {
  std::uint32_t version = kVersion;
  AgentId agent;
  std::string incarnation;  // random per process: another one means the old process is gone
  std::string node;
  std::string token;  // service-account token on Kubernetes; empty in embedded mode
  std::uint32_t slots = 4;
  std::vector<JobStatus> jobs;
  std::string build;  // program version
  bool vddk = false;  // reads disks of kind NbdkitVddk
  friend bool operator==(const Hello&, const Hello&) = default;
};

struct Heartbeat {
  AgentId agent;
  std::string incarnation;
  std::uint32_t free_slots = 0;
  double bytes_per_second = 0;
  double load = 0;              // 1-minute load average
  std::vector<JobStatus> jobs;  // absolute progress of every job: lost ones do not matter
  std::uint64_t sequence = 0;   // comes back in the HeartbeatAck
  friend bool operator==(const Heartbeat&, const Heartbeat&) = default;
};

struct Accepted {
  JobId job;
  Attempt attempt = 0;
  friend bool operator==(const Accepted&, const Accepted&) = default;
};

struct Refused {
  JobId job;
  Attempt attempt = 0;
  WireError error;
  friend bool operator==(const Refused&, const Refused&) = default;
};

// Chunks that became durable since the last Journal of this attempt; `chunks` as encode_chunks.
// `reset`: the target was started over: forget everything of other epochs.
// Acknowledged with JournalAck{sequence}; unacknowledged ones are sent again.
struct JournalUpdate {
  JobId job;
  Attempt attempt = 0;
  std::string epoch;     // random, made when a target is started from nothing
  std::string identity;  // opaque text; equal means the chunks are valid
  bool reset = false;
  std::uint64_t sequence = 0;
  std::string chunks;
  friend bool operator==(const JournalUpdate&, const JournalUpdate&) = default;
};

struct Done {
  JobId job;
  Attempt attempt = 0;
  JobStatus status;
  std::string digest;  // "xxh3-128:<hex>"
  bool verified = false;
  bool source_digest_matched = false;
  double seconds = 0;
  double verify_seconds = 0;
  // Whose the disk is, "0:0, mode 0660", where it could not be given to the user or group that
  // KubeVirt runs a VM as; empty: it could.
  std::string owner;
  friend bool operator==(const Done&, const Done&) = default;
};

struct Failed {
  JobId job;
  Attempt attempt = 0;
  JobStatus status;
  WireError error;
  friend bool operator==(const Failed&, const Failed&) = default;
};

struct Cancelled {
  JobId job;
  Attempt attempt = 0;
  friend bool operator==(const Cancelled&, const Cancelled&) = default;
};

// The endpoint's ticket or cookie was refused: answer with Renewed.
struct RenewRequest {
  JobId job;
  Attempt attempt = 0;
  std::uint64_t sequence = 0;
  WireError why;
  friend bool operator==(const RenewRequest&, const RenewRequest&) = default;
};

// ---- coordinator to agent ----

struct Welcome {
  std::uint32_t version = kVersion;
  std::string coordinator;  // random per process: another one means say Hello again
  std::chrono::milliseconds heartbeat_every{1000};
  // So long after it *sent* the last Heartbeat that was acknowledged, the agent stops writing and
  // closes its targets; the coordinator waits longer, from when it heard that Heartbeat, before it
  // gives a disk to another. Counted from the sending, a late acknowledgement cannot stretch it.
  std::chrono::milliseconds lease{10'000};
  friend bool operator==(const Welcome&, const Welcome&) = default;
};

// Answer to every Heartbeat: the lease runs anew from when that Heartbeat was sent.
struct HeartbeatAck {
  std::string coordinator;
  std::uint64_t sequence = 0;
  friend bool operator==(const HeartbeatAck&, const HeartbeatAck&) = default;
};

// What a mover says in Hello::node instead of a node's name, so that it gets the disks of its own
// pod and nothing else. The coordinator believes it if the pod of its token has this uid.
std::string mover_node(std::string_view pod_uid);
bool is_mover_node(std::string_view node);

struct TargetVolume {
  std::string claim_uid;
  std::string name;  // for texts: namespace/claim
  // File, device or directory on the agent's machine; in mover mode, in the mover's own container.
  // Empty where pod_uid says where the volume is.
  std::string path;
  bool block = false;
  // A volume that the node's kubelet has mounted for the holder pod of this uid; `volume` is the
  // PersistentVolume's name, which is what the kubelet calls its directory.
  std::string pod_uid = {};
  std::string volume = {};
  // The holder copies by itself, from within its own mount: `path` is only for the agent whose node
  // is mover_node(its pod).
  bool mover = false;
  friend bool operator==(const TargetVolume&, const TargetVolume&) = default;
};

struct Assign {
  JobId job;
  Attempt attempt = 0;
  std::string import_key;  // namespace/name, for logs
  std::string disk;        // the disk's name, for logs
  DiskEndpoint source;
  TargetVolume target;
  std::string hash = "xxh3-128";
  bool verify = true;
  bool compare_source_digest = false;
  std::uint32_t workers = 0;                 // 0: the source's hint
  std::uint64_t limit_bytes_per_second = 0;  // 0: none
  // The journal so far, if any: parts in AssignJournal messages sent before this one.
  std::string epoch;
  std::string identity;
  std::uint32_t journal_parts = 0;
  friend bool operator==(const Assign&, const Assign&) = default;
};

// `chunks` of the JournalUpdates so far, in order, as many as fit into kMaxJournalPartBytes.
// `part` counts from 0; part 0 makes the agent forget parts that it holds of this job.
struct AssignJournal {
  JobId job;
  Attempt attempt = 0;
  std::uint32_t part = 0;
  std::vector<std::string> chunks;
  friend bool operator==(const AssignJournal&, const AssignJournal&) = default;
};

struct JournalAck {
  JobId job;
  Attempt attempt = 0;
  std::uint64_t sequence = 0;
  bool is_first = false;  // nothing was known of this epoch before: tell again what was told
  friend bool operator==(const JournalAck&, const JournalAck&) = default;
};

// The outcome of this attempt is stored: the agent may forget the job and its files.
struct Forget {
  JobId job;
  Attempt attempt = 0;
  friend bool operator==(const Forget&, const Forget&) = default;
};

struct Cancel {
  JobId job;
  Attempt attempt = 0;  // and all lower ones
  friend bool operator==(const Cancel&, const Cancel&) = default;
};

struct Renewed {
  JobId job;
  Attempt attempt = 0;
  std::uint64_t sequence = 0;
  std::optional<DiskEndpoint> source;  // or why not:
  std::optional<WireError> error;
  friend bool operator==(const Renewed&, const Renewed&) = default;
};

// Live limits; absent fields stay.
struct Limits {
  std::optional<std::uint64_t> agent_bytes_per_second;  // 0: none
  std::map<std::string, std::uint64_t> job_bytes_per_second;
  std::optional<std::uint32_t> slots;
  friend bool operator==(const Limits&, const Limits&) = default;
};

// Finish what runs, take nothing new.
struct Drain {
  bool on = true;
  friend bool operator==(const Drain&, const Drain&) = default;
};

using Message = std::variant<Hello, Heartbeat, Accepted, Refused, JournalUpdate, Done, Failed,
                             Cancelled, RenewRequest, Welcome, HeartbeatAck, Assign, AssignJournal,
                             JournalAck, Forget, Cancel, Renewed, Limits, Drain>;

// The message's "kind" on the wire.
std::string_view kind_of(const Message& message);

std::string encode(const Message& message);
// InvalidArgument: not msgpack, not a map, unknown kind, a missing required field, a field of the
// wrong type, too large, nested too deep, another major version.
Result<Message> decode(std::string_view bytes);

}  // namespace vmferry::protocol
