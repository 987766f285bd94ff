#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <variant>

#include "common/log.h"
#include "common/mailbox.h"
#include "coordinator/fleet/job_records.h"

namespace vmferry {

// Saves and removes records beside the fleet's loop, which must answer heartbeats while a disk or
// an API server takes its time. In the order given; each answer goes into the mailbox. What was
// given before the end is still done.
class RecordThread {
 public:
  struct Answer {
    JobId job;
    bool removal = false;
    Result<void> result;
  };
  RecordThread(JobRecords& records, Mailbox<Answer>& answers);
  ~RecordThread();

  void save(JobRecord record) { put(std::move(record)); }
  void remove(JobId job) { put(std::move(job)); }

 private:
  using Task = std::variant<JobRecord, JobId>;
  void put(Task task);
  void run(std::stop_token stop);

  JobRecords& records_;
  Mailbox<Answer>& answers_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Task> tasks_;
  std::jthread thread_;
};

}  // namespace vmferry
