#include "coordinator/cluster/cluster_coordinator.h"

#include <unistd.h>

#include <array>
#include <cstdlib>

#include "common/id.h"
#include "common/signals.h"
#include "coordinator/cluster/http_endpoint.h"
#include "coordinator/cluster/leader.h"
#include "coordinator/cluster/leader_label.h"
#include "coordinator/cluster/probes.h"
#include "coordinator/cluster/server_keys.h"

namespace vmferry::cluster {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "coordinator";
}

void complete(ClusterOptions& options, const kube::Cluster& cluster) {
  if (options.ns.empty()) options.ns = environment("POD_NAMESPACE");
  if (options.ns.empty()) options.ns = cluster.ns();
  if (options.identity.empty()) options.identity = environment("POD_NAME");
  if (options.identity.empty()) options.identity = host_name();
  // The next process of this pod must not take the lease for its own.
  options.election.identity = options.identity + "_" + random_hex_id().substr(0, 12);
}

// What probes and metrics are asked about; filled as parts come and go.
struct Shown {
  Guarded<Leader*> leader{nullptr};
};

LeaseLooks looks_of(const Leadership& leadership, SteadyTime started) {
  return {.started = started,
          .last_try = leadership.last_try(),
          .last_look = leadership.last_look(),
          .lost = leadership.lost().stop_requested()};
}

}  // namespace

Result<void> run_on_cluster(ClusterOptions options, const Clock& clock, const Logger& log,
                            std::stop_token stop) {
  const auto cluster = TRY(kube::Cluster::open(options.access, clock, log));
  complete(options, *cluster);
  // Connections of their own: a renewal waits for nobody.
  const auto lease_cluster = TRY(kube::Cluster::open(options.access, clock, log));
  kube::RestClient lease_client(lease_cluster->api(), log, options.election.renew / 2);
  const SteadyTime started = clock.steady();
  Leadership leadership(lease_client, lease_client, {options.ns, kPublished}, options.election,
                        clock, log);
  Shown shown;
  const auto http = TRY(HttpEndpoint::start(
      options.http,
      {.unhealthy =
           [&] {
             return unhealthy(looks_of(leadership, started), clock.steady(), options.election);
           },
       .unready =
           [&] { return unready(looks_of(leadership, started), clock.steady(), options.election); },
       .metrics =
           [&] {
             MetricsInput input;
             input.leader = leadership.may_act();
             input.api_answers = cluster->api().answers();
             auto leader = shown.leader.lock();
             if (*leader != nullptr) (*leader)->fill(input);
             return metrics_text(input);
           }},
      log));
  log.info("coordinator waits to lead",
           {{"server", cluster->api().server()}, {"namespace", options.ns}});
  if (!leadership.wait_until_leading(stop)) return {};

  std::stop_source ending;
  const std::stop_callback asked(stop, [&] { ending.request_stop(); });
  const std::stop_callback lost(leadership.lost(), [&] { ending.request_stop(); });
  auto leader = Leader::start(options, *cluster, leadership, clock, log, ending.get_token());
  const bool is_lost = [&] {
    if (!leader) return leadership.lost().stop_requested();
    *shown.leader.lock() = leader->get();
    wait_for_stop(ending.get_token());
    *shown.leader.lock() = nullptr;
    return leadership.lost().stop_requested();
  }();
  if (!leader && !is_lost && !stop.stop_requested()) return std::move(leader).error();
  if (leader) leader->reset();
  if (is_lost) return Error(ErrorKind::Unavailable, "not the leader any more");
  return {};
}

}  // namespace vmferry::cluster
