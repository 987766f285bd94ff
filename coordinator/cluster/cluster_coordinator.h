#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/cluster/election.h"
#include "coordinator/kube/rest/cluster.h"
#include "coordinator/volumes/cluster/cluster_volumes.h"

namespace vmferry::cluster {

struct ClusterOptions {
  kube::Cluster::Options access;
  std::string ns;        // ours; empty: $POD_NAMESPACE, else what the access says
  std::string identity;  // our pod's name; empty: $POD_NAME, else the host's
  std::string bind = "tcp://0.0.0.0:7401";  // for agents
  std::string advertise;                    // for movers; empty: our Service
  std::string http = "0.0.0.0:8080";
  std::string state_directory = "/var/lib/vmferry";  // journals: a cache
  std::string agent_image;                           // empty: that of our own pod
  std::string watch_namespace;                       // imports of this one alone; empty: of all
  volumes::ClusterVolumes::MoverUse mover_use = volumes::ClusterVolumes::MoverUse::BlockDevices;
  std::uint64_t agent_limit_bytes_per_second = 0;
  int workers = 16;
  std::chrono::milliseconds agent_lease{30'000};  // transfers go on through a takeover
  bool vddk = false;
  ElectionSettings election;  // its identity is made here
};

// A coordinator on a cluster, until `stop` or until it leads no more: waits for the Lease, then
// acts. What a leader consists of is built when it becomes one and gone before the Lease is.
//
//   keys of the fleet ─ caches ─ volumes ─ fleet with its records ─ engine ─ the Service's label
//
// Success: stopped as asked, the Lease given up. Errors: what kept it from starting; Unavailable
// when it was the leader and is it no longer: whoever runs it starts it again.
Result<void> run_on_cluster(ClusterOptions options, const Clock& clock, const Logger& log,
                            std::stop_token stop);

}  // namespace vmferry::cluster
