#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/protocol.h"
#include "common/result.h"
#include "coordinator/fleet/job_records.h"

namespace vmferry {

// The fleet's files:
//
//   <state>/lock                     flock: one coordinator at a time
//   <state>/jobs/<job>/record.json   JobRecord; replaced atomically, fsynced
//   <state>/jobs/<job>/journal       what agents reported durable, appended
//
// The journal is a sequence of records, each [u32 length][u32 crc32 of body][body], little-endian.
// The first body is the epoch's: "E", u32 length of epoch, epoch, identity. Every other is "C" and
// the chunks of one JournalUpdate as they came. A torn tail (the coordinator was killed or the
// machine lost power) is cut off by journal(): those chunks are copied again, nothing else.
// For the same reason appends are not fsynced. Records and journals belong to one thread each;
// nobody writes a journal while its record is being removed.
// On a cluster only the journals are here, as a cache: the records are objects then.
class JournalStore final : public JobRecords {
 public:
  struct Stored {
    std::string epoch;  // empty: there is no journal
    std::string identity;
    std::vector<std::string> chunks;
  };

  // Makes and locks the directory: Unavailable when another coordinator has it.
  static Result<JournalStore> open(const std::string& state_directory);

  Result<std::vector<JobRecord>> load(std::stop_token stop = {}) override;
  Result<void> save(const JobRecord& record, std::stop_token stop = {}) override;
  // Record and journal.
  Result<void> remove(const JobId& job, std::stop_token stop = {}) override;

  // An update of another epoch than the stored one replaces the journal: the target was started
  // over.
  // True when nothing of that epoch was known before.
  Result<bool> append(const protocol::JournalUpdate& update) const;
  // Cuts off a torn tail on the way. Call for every job after a restart, before append().
  Result<Stored> journal(const JobId& job) const;

 private:
  JournalStore(std::string jobs, UniqueFd lock) : jobs_(std::move(jobs)), lock_(std::move(lock)) {}
  std::string directory(const JobId& job) const;
  std::string journal_path(const JobId& job) const { return directory(job) + "/journal"; }

  std::string jobs_;
  UniqueFd lock_;
};

}  // namespace vmferry
