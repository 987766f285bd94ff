#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/log.h"
#include "coordinator/access/subject_access_reviews.h"
#include "coordinator/access/token_review_gate.h"
#include "coordinator/cluster/caches.h"
#include "coordinator/cluster/cluster_coordinator.h"
#include "coordinator/cluster/config_map_jobs.h"
#include "coordinator/cluster/exit_at_write.h"
#include "coordinator/cluster/fenced_writer.h"
#include "coordinator/cluster/leadership.h"
#include "coordinator/cluster/metrics.h"
#include "coordinator/engine.h"

namespace vmferry::cluster {

// All that acts: exists only while we lead.
class Leader {
 public:
  // Canceled when `stop` is requested meanwhile.
  static Result<std::unique_ptr<Leader>> start(const ClusterOptions& options,
                                               kube::Cluster& cluster, Leadership& leadership,
                                               const Clock& clock, const Logger& log,
                                               std::stop_token stop);
  // Workers first, then the fleet, then the caches.
  ~Leader();

  void fill(MetricsInput& input);

 private:
  Leader(const ClusterOptions& options, kube::Cluster& cluster, Leadership& leadership,
         const Clock& clock, const Logger& log);
  Result<void> build(std::stop_token stop);
  Result<std::string> agent_image(std::stop_token stop);
  void change_in(const std::string& ns);
  void keep_house(std::stop_token stop);
  Result<void> point_service(std::stop_token stop);
  void settle_orphans();

  const ClusterOptions& options_;
  kube::Cluster& cluster_;
  Leadership& leadership_;
  const Clock& clock_;
  const Logger log_;
  std::unique_ptr<ExitAtWrite> exiting_;
  FencedWriter writer_;
  kube::EventRecorder events_;
  // Who agents are is asked on connections, and within a limit, of their own: neither do hundreds
  // of agents hold up imports, nor the other way round.
  std::unique_ptr<kube::Cluster> gate_cluster_;
  std::unique_ptr<access::TokenReviewGate> gate_;
  access::SubjectAccessReviews reviews_{cluster_.writer(), clock_};
  Engine engine_;
  std::unique_ptr<Caches> caches_;
  std::atomic<bool> ready_{false};
  std::unique_ptr<Volumes> volumes_;
  std::unique_ptr<ConfigMapJobs> records_;
  bool warned_no_pod_ = false;
  std::string public_key_;
  std::jthread housekeeping_;
};

}  // namespace vmferry::cluster
