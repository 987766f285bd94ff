#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "common/log.h"
#include "coordinator/cluster/election.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

namespace vmferry::cluster {

// Gets and keeps the Lease for this process. One thread looks, takes and renews; another only
// watches the time, so that a request that hangs cannot keep a leader that is none any more.
// Reader and writer answer within half of settings.renew.
class Leadership {
 public:
  Leadership(kube::Reader& reader, kube::Writer& writer, kube::ObjectKey lease,
             ElectionSettings settings, const Clock& clock, const Logger& log);
  // Gives the lease up if it is ours: whoever acted for it has stopped before.
  ~Leadership();

  // True once we lead; false when `stop` was requested before.
  bool wait_until_leading(std::stop_token stop);
  // Whether we may act at this very moment. From any thread, often; also right for a process that
  // was frozen and wakes up.
  bool may_act() const;
  // Requested when we have led and do no more. What acts must then be gone within
  // settings.lease - settings.renew: until_gone() is when others may begin.
  std::stop_token lost() const { return lost_.get_token(); }
  // For what proves to be wrong otherwise: somebody else acts as the leader.
  void give_up(std::string_view why);

  std::int64_t term() const { return term_; }
  const std::string& identity() const { return settings_.identity; }
  // When the lease was last read, and when the thread last set out to read it; for probes.
  SteadyTime last_look() const { return SteadyTime(SteadyTime::duration(last_look_.load())); }
  SteadyTime last_try() const { return SteadyTime(SteadyTime::duration(last_try_.load())); }

 private:
  void run(std::stop_token stop);
  Result<void> step(std::stop_token stop);
  void watch_time(std::stop_token stop);
  void resign();

  kube::Reader& reader_;
  kube::Writer& writer_;
  const kube::ObjectKey key_;
  const ElectionSettings settings_;
  const Clock& clock_;
  const Logger log_;
  Election election_;                   // the thread's own
  std::optional<LeaseRecord> current_;  // as last written or read; the thread's own
  std::atomic<std::int64_t> until_{0};  // boot time; 0: we do not lead
  std::atomic<std::int64_t> last_look_{0}, last_try_{0};
  std::atomic<std::int64_t> term_{0};
  std::stop_source lost_;
  std::stop_source leading_;
  std::jthread watcher_;
  std::jthread thread_;
};

}  // namespace vmferry::cluster
