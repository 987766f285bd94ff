#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/id.h"
#include "common/protocol.h"
#include "common/result.h"
#include "coordinator/provider/source_budget.h"

namespace vmferry {

// Who may be writing a job's target now. Stored before the Assign leaves, cleared only on proof
// that the writer is gone: its own word, a new incarnation of its agent, or the lease and a margin.
struct Writer {
  AgentId agent;
  std::string incarnation;
  std::chrono::milliseconds lease{0};  // that the agent was promised
  friend bool operator==(const Writer&, const Writer&) = default;
};

// How a job ended.
struct JobOutcome {
  std::optional<protocol::WireError> error;  // nothing: succeeded
  std::string digest;
  bool verified = false;
  bool source_digest_matched = false;
  double seconds = 0;
  std::string owner;  // as in protocol::Done
  std::uint64_t virtual_bytes = 0;
  std::uint64_t moved_bytes = 0;
  std::uint64_t resumed_bytes = 0;
  std::uint64_t zero_bytes = 0;
  std::uint64_t verified_bytes = 0;
  friend bool operator==(const JobOutcome&, const JobOutcome&) = default;
};

// What the fleet must know of a job after a restart. Holds no secret: endpoints come again with the
// next submit().
struct JobRecord {
  JobId job;
  std::string import_key;
  std::string ns;
  std::string disk;
  std::string datastore;
  std::string provider;
  std::string source_host;
  SourceBudget budget{};
  protocol::Attempt attempt = 0;  // of the last assignment
  int failures = 0;               // that count against attempts_per_job
  std::optional<Writer> writer;
  // The life of the target that its newest writer told of, and for what its chunks are valid:
  // chunks of any other are worth nothing. Empty: never told. An epoch without identity: nothing
  // on the target is to be trusted.
  std::string epoch;
  std::string identity;
  std::optional<JobOutcome> outcome;
  std::vector<std::string> history;
  friend bool operator==(const JobRecord&, const JobRecord&) = default;
};

std::string to_json(const JobRecord& record);
// DataLoss when `text` is no such record.
Result<JobRecord> job_record_from_json(std::string_view text);

}  // namespace vmferry
