#include <unistd.h>

#include <filesystem>
#include <iostream>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "common/signals.h"

int main(int argc, char** argv) {
  using namespace vmferry;
  const StopSignals signals;  // first: other threads inherit its blocked signals
  const SystemClock clock;
  cli::Context context{.out = std::cout,
                       .err = std::cerr,
                       .clock = clock,
                       .stop = signals.token(),
                       .log = make_stderr_logger("vmferry"),
                       .terminal = ::isatty(STDOUT_FILENO) == 1};

  // kubectl runs the program kubectl-vmferry for `kubectl vmferry`.
  const bool plugin = std::filesystem::path(argv[0]).filename() == "kubectl-vmferry";
  CLI::App app("VMFerry brings virtual machines from vCenter and oVirt to KubeVirt.",
               plugin ? cli::kPluginName : "vmferry");
  cli::add_global_options(app, context);
  cli::add_import(app, context);
  cli::add_inventory(app, context);
  cli::add_up(app, context);
  cli::add_apply(app, context);
  cli::add_get(app, context);
  cli::add_describe(app, context);
  cli::add_watch(app, context);
  cli::add_wait(app, context);
  cli::add_delete(app, context);
  cli::add_limit(app, context);
  cli::add_copy(app, context);
  cli::add_explain(app, context);
  cli::add_validate(app, context);
  cli::add_version(app, context);
  return cli::parse_and_run(app, context, argc, argv);
}
