#pragma once

#include <stop_token>
#include <vector>

#include "coordinator/fleet/job_record.h"

namespace vmferry {

// Where records of jobs outlive the coordinator: files of a directory (journal_store.h), or objects
// of a cluster (cluster/config_map_jobs.h). Belongs to one thread at a time; calls may take
// seconds.
class JobRecords {
 public:
  virtual ~JobRecords() = default;
  // DataLoss when one cannot be read: it may name a writer, so going on without it is not safe.
  virtual Result<std::vector<JobRecord>> load(std::stop_token stop) = 0;
  // When this returns, the record is there for whoever comes after us.
  virtual Result<void> save(const JobRecord& record, std::stop_token stop) = 0;
  // No error when there is none.
  virtual Result<void> remove(const JobId& job, std::stop_token stop) = 0;
};

}  // namespace vmferry
