#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/protocol.h"
#include "common/result.h"
#include "coordinator/fleet/job_record.h"

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
// For the same reason appends are not fsynced. Belongs to one thread.
class JournalStore {
 public:
  struct Stored {
    std::string epoch;  // empty: there is no journal
    std::string identity;
    std::vector<std::string> chunks;
  };

  // Makes and locks the directory: Unavailable when another coordinator has it.
  static Result<JournalStore> open(const std::string& state_directory);

  // DataLoss when one cannot be read: it may name a writer, so going on without it is not safe.
  Result<std::vector<JobRecord>> load() const;
  Result<void> save(const JobRecord& record) const;
  // Record and journal; no error when there are none.
  Result<void> remove(const JobId& job) const;

  // An update of another epoch than the stored one replaces the journal: the target was started
  // over.
  Result<void> append(const protocol::JournalUpdate& update) const;
  // Cuts off a torn tail on the way. Call for every job after a restart, before append().
  Result<Stored> journal(const JobId& job) const;
  // Replaces the journal by an empty one of a new epoch, so that no agent trusts the target.
  Result<void> distrust(const JobId& job) const;

 private:
  JournalStore(std::string jobs, UniqueFd lock) : jobs_(std::move(jobs)), lock_(std::move(lock)) {}
  std::string directory(const JobId& job) const;
  std::string journal_path(const JobId& job) const { return directory(job) + "/journal"; }

  std::string jobs_;
  UniqueFd lock_;
};

}  // namespace vmferry
