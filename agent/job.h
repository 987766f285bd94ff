#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "agent/rate_meter.h"
#include "agent/renewal.h"
#include "agent/volume.h"
#include "common/clock.h"
#include "common/guarded.h"
#include "common/log.h"
#include "common/mailbox.h"
#include "common/protocol.h"
#include "transfer/copy.h"
#include "transfer/open_source.h"
#include "transfer/resume.h"
#include "transfer/throttle.h"
#include "transfer/write_fence.h"

namespace vmferry {

// What a job tells the control loop, through its mailbox.
struct JobDurable {  // chunks that are safe on the target and that the coordinator lacks
  JobId job;
  protocol::Attempt attempt = 0;
  std::vector<DurableChunk> chunks;
};
struct JobOpened {  // the target is open: what its chunks will be valid for
  JobId job;
  protocol::Attempt attempt = 0;
  std::string epoch;
  std::string identity;
  bool started_over = false;
};
struct JobAsks {  // its Renewal has a question
  JobId job;
};
struct JobEnded {  // source, target and journal are closed
  JobId job;
  protocol::Attempt attempt = 0;
  Result<CopyResult> result;
  std::string owner;  // as in protocol::Done
};
using JobEvent = std::variant<JobDurable, JobOpened, JobAsks, JobEnded>;

// One transfer on a thread of its own: opens both ends, copies, verifies, closes. Public functions
// belong to the control loop's thread. The destructor stops the job and waits for it.
class Job {
 public:
  struct Environment {
    SourceEnvironment source;  // without renew
    std::string journal_path;
    VolumeRules volumes;
    Throttle* agent_throttle = nullptr;
    SteadyTime lease_end;  // in the clock's boot time
    Mailbox<JobEvent>* events = nullptr;
    const Clock* clock = nullptr;
    Logger log;
  };

  // `journal`: chunks of AssignJournal messages, as they came; decoded on the job's thread.
  Job(protocol::Assign assign, std::vector<std::string> journal, Environment environment);
  ~Job() = default;

  const JobId& id() const { return assign_.job; }
  protocol::Attempt attempt() const { return assign_.attempt; }
  // The target is let go of within two seconds; then the source is closed, which with VDDK takes
  // up to a minute when its host does not answer, and JobEnded comes.
  void stop() { thread_.request_stop(); }
  // Whether the target is open, and so could be written.
  bool holds_target() const { return holds_target_; }
  void set_limit(std::uint64_t bytes_per_second) { throttle_.set_rate(bytes_per_second); }
  // The lease was renewed: the target may be written until `end`. Without effect once the lease has
  // ended: this attempt writes nothing more then, whatever comes.
  void extend_lease(SteadyTime end) { fence_.extend_until(end); }
  Renewal& renewal() { return renewal_; }
  // The coordinator has lost what it was told: JobDurable comes with all chunks at the next
  // checkpoint.
  void tell_whole_journal() { tell_all_ = true; }
  // Absolute counters, the smoothed rate, and a note on what holds it up. Call about once per
  // heartbeat: the rate is measured between calls.
  protocol::JobStatus status();

 private:
  void run(std::stop_token stop);
  Result<CopyResult> transfer(std::stop_token stop);  // and sets owner_
  Result<DiskEndpoint> renewed(const Error& why, std::stop_token stop);
  Result<std::optional<ResumeState>> resume_state() const;
  std::string note(const CopyProgress& progress, double rate, SteadyTime now);

  const protocol::Assign assign_;
  std::vector<std::string> journal_;
  Environment environment_;
  Throttle throttle_;
  WriteFence fence_;
  Renewal renewal_;
  CopyMonitor monitor_;
  std::atomic<bool> opening_{true};
  std::atomic<bool> holds_target_{false};
  std::atomic<bool> tell_all_{false};

  std::string owner_;  // of the job's thread

  RateMeter moved_rate_;
  RateMeter verified_rate_;
  std::uint64_t last_retries_ = 0;
  std::optional<SteadyTime> last_retry_;

  std::jthread thread_;  // last: ends first
};

}  // namespace vmferry
