// vmferry-coordinator: reconciles imports, against the embedded store of one home directory or,
// with
// --cluster, against a Kubernetes API server.
#include <iostream>

#include <CLI/CLI.hpp>

#include "common/bytes.h"
#include "common/signals.h"
#include "coordinator/cluster/cluster_coordinator.h"
#include "coordinator/coordinator.h"

namespace vmferry {
namespace {

using MoverUse = volumes::ClusterVolumes::MoverUse;

struct Arguments {
  std::string home;
  std::string limit = "0";
  int workers = 16;
  int lease_ms = 0;  // 0: what the mode takes
  bool vddk = false;
  bool on_cluster = false;
  cluster::ClusterOptions cluster;
  double lease_seconds = 15, renew_seconds = 10, retry_seconds = 2;
};

void describe(CLI::App& app, Arguments& all) {
  app.add_option("--home", all.home, "Directory with store, keys and volumes");
  app.add_option("--limit", all.limit, "Bytes per second of every agent, such as 200M; 0: none");
  app.add_option("--workers", all.workers, "Imports reconciled at once")->check(CLI::Range(1, 64));
  app.add_option("--lease-ms", all.lease_ms, "An agent unheard of for that long stops writing")
      ->check(CLI::Range(1000, 600'000));
  app.add_flag("--vddk", all.vddk, "Read VMware disks through nbdkit's vddk plugin");

  CLI::Option* const on_cluster =
      app.add_flag("--cluster", all.on_cluster, "Work on a Kubernetes cluster instead of a home");
  cluster::ClusterOptions& c = all.cluster;
  const auto add = [&](const char* name, auto& value, const char* help) {
    return app.add_option(name, value, help)->group("Cluster")->needs(on_cluster);
  };
  add("--kubeconfig", c.access.kubeconfig, "Else $KUBECONFIG, the pod's account, ~/.kube/config");
  add("--context", c.access.context, "Of the kubeconfig; else its current one");
  add("--namespace", c.ns, "Ours: Lease, keys, configuration; else $POD_NAMESPACE");
  add("--watch-namespace", c.watch_namespace, "Imports of this one alone; else of all")
      ->envname("WATCH_NAMESPACE");
  add("--identity", c.identity, "Our pod's name; else $POD_NAME");
  add("--bind", c.bind, "Where agents connect to")->capture_default_str();
  add("--advertise,--agent-address", c.advertise, "Where movers connect to; else our Service");
  add("--http", c.http, "Where /healthz, /readyz and /metrics are")->capture_default_str();
  add("--state", c.state_directory, "Directory for copies of journals; may be lost")
      ->capture_default_str();
  add("--agent-image", c.agent_image, "Image of holder pods and movers; else our own pod's")
      ->envname("VMFERRY_AGENT_IMAGE");
  add("--mode", c.mover_use,
      "Who copies: agents on the nodes, movers in pods of their own, or auto: movers for block "
      "devices and hostPath, agents for the rest")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, MoverUse>{{"auto", MoverUse::BlockDevices},
                                                                  {"agents", MoverUse::WhereNeeded},
                                                                  {"movers", MoverUse::Always}}));
  add("--lease-seconds", all.lease_seconds, "A leader unheard of for that long is replaced")
      ->check(CLI::Range(1.0, 600.0));
  add("--renew-seconds", all.renew_seconds, "A leader that cannot renew for that long stops")
      ->check(CLI::Range(0.5, 600.0));
  add("--retry-seconds", all.retry_seconds, "Between two looks at the Lease")
      ->check(CLI::Range(0.1, 60.0));
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

Result<void> run_cluster(Arguments& all, const Clock& clock, const Logger& log,
                         std::stop_token stop) {
  cluster::ClusterOptions& options = all.cluster;
  options.agent_limit_bytes_per_second = TRY(parse_size(all.limit));
  options.workers = all.workers;
  options.vddk = all.vddk;
  if (all.lease_ms > 0) options.agent_lease = std::chrono::milliseconds(all.lease_ms);
  options.election.lease = milliseconds(all.lease_seconds);
  options.election.renew = milliseconds(all.renew_seconds);
  options.election.retry = milliseconds(all.retry_seconds);
  if (options.election.renew + options.election.retry > options.election.lease) {
    return Error(
        ErrorKind::InvalidArgument,
        "--lease-seconds must be longer than --renew-seconds and --retry-seconds together");
  }
  return cluster::run_on_cluster(std::move(options), clock, log, stop);
}

Result<void> run_home(const Arguments& all, const Clock& clock, const Logger& log,
                      std::stop_token stop) {
  const embedded::Home home = TRY(embedded::Home::find(all.home));
  CoordinatorOptions options;
  options.workers = all.workers;
  options.vddk = all.vddk;
  options.agent_limit_bytes_per_second = TRY(parse_size(all.limit));
  if (all.lease_ms > 0) options.lease = std::chrono::milliseconds(all.lease_ms);
  const auto coordinator = TRY(Coordinator::start(home, options, clock, log));
  wait_for_stop(stop);
  return {};
}

}  // namespace
}  // namespace vmferry

int main(int argc, char** argv) {
  using namespace vmferry;
  CLI::App app{
      "Coordinates imports: of one home directory (usually started by `vmferry up`) or of a "
      "cluster.\n\nExample: vmferry-coordinator --home /srv/vmferry --limit 200M\n"
      "         vmferry-coordinator --cluster"};
  Arguments arguments;
  describe(app, arguments);
  CLI11_PARSE(app, argc, argv);

  const StopSignals signals;
  const Logger log = make_stderr_logger("vmferry-coordinator");
  const SystemClock clock;
  const Result<void> ended = arguments.on_cluster
                                 ? run_cluster(arguments, clock, log, signals.token())
                                 : run_home(arguments, clock, log, signals.token());
  if (!ended) {
    log.error("ends", ended.error());
    return 1;
  }
  log.info("stopped");
  return 0;
}
