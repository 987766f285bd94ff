// vmferry-coordinator: reconciles imports against the embedded store of one home directory.
#include <iostream>

#include <CLI/CLI.hpp>

#include "common/bytes.h"
#include "common/signals.h"
#include "coordinator/coordinator.h"

int main(int argc, char** argv) {
  using namespace vmferry;
  CLI::App app{
      "Coordinates imports of one home directory. Usually started by `vmferry up`.\n\n"
      "Example: vmferry-coordinator --home /srv/vmferry --limit 200M"};
  std::string home_flag;
  std::string limit = "0";
  CoordinatorOptions options;
  int lease_ms = static_cast<int>(options.lease.count());
  app.add_option("--home", home_flag, "Directory with store, keys and volumes");
  app.add_option("--limit", limit, "Bytes per second of every agent, such as 200M; 0: none");
  app.add_option("--workers", options.workers, "Imports reconciled at once")
      ->check(CLI::Range(1, 64));
  app.add_option("--lease-ms", lease_ms, "An agent unheard of for that long stops writing")
      ->check(CLI::Range(1000, 600'000));
  app.add_flag("--vddk", options.vddk, "Read VMware disks through nbdkit's vddk plugin");
  CLI11_PARSE(app, argc, argv);

  const StopSignals signals;
  const Logger log = make_stderr_logger("vmferry-coordinator");
  const SystemClock clock;
  const auto started = [&]() -> Result<std::unique_ptr<Coordinator>> {
    const embedded::Home home = TRY(embedded::Home::find(home_flag));
    options.agent_limit_bytes_per_second = TRY(parse_size(limit));
    options.lease = std::chrono::milliseconds(lease_ms);
    return Coordinator::start(home, options, clock, log);
  }();
  if (!started) {
    log.error("cannot start", started.error());
    return 1;
  }
  wait_for_stop(signals.token());
  log.info("stopping");
  return 0;
}
