#include <ostream>

#include <CLI/App.hpp>

#include "cli/commands.h"
#include "cli/supervisor.h"
#include "common/bytes.h"
#include "common/signals.h"

namespace vmferry::cli {
namespace {

struct UpFlags {
  UpOptions options;
  std::string limit = "0";
};

Result<int> run_up(Context& context, const UpFlags& flags) {
  UpOptions options = flags.options;
  options.limit_bytes_per_second = TRY(parse_size(flags.limit));
  const embedded::Home home = TRY(context.home());
  const auto supervisor = TRY(Supervisor::start(home, options, context.log, context.stop));
  context.out
      << fmt::format(
             "vmferry is up: 1 coordinator, {} agents, home '{}'\n"
             "  apply files with   vmferry apply -f FILE\n"
             "  follow them with   vmferry watch\n"
             "  logs are in        {}\n"
             "Ctrl-C stops everything; transfers go on where they stopped at the next start.\n",
             options.agents, home.path(), home.log())
      << std::flush;
  wait_for_stop(context.stop);
  context.out << "stopping\n" << std::flush;
  return kOk;
}

}  // namespace

void add_supervisor_options(CLI::App& command, UpOptions& options, std::string& limit) {
  command.add_option("--agents", options.agents, "Agent processes")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command.add_option("--slots", options.slots, "Transfers at once per agent")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command.add_option("--limit", limit, "Bandwidth per agent, such as 200M; 0: none")
      ->capture_default_str();
  command.add_flag("--vddk", options.vddk, "Read VMware disks through nbdkit's vddk plugin");
  command.add_option("--vddk-libdir", options.vddk_libdir,
                     "VMware's library: the directory with lib64/");
  command.add_option("--nbdkit", options.nbdkit, "The nbdkit program")->capture_default_str();
  command
      .add_option("--nbdkit-silence", options.nbdkit_silence_seconds,
                  "Seconds after which an nbdkit that gives no byte is killed and started again; "
                  "120 unless told")
      ->check(CLI::Range(1.0, 3'600.0));
  command
      .add_option("--vddk-stand-in", options.vddk_stand_in,
                  "A word of another nbdkit plugin's command line in VDDK's place, for tests; "
                  "repeatable; {file}, {ds} and {path} stand for the disk's datastore path")
      ->allow_extra_args(false);
}

void add_up(CLI::App& app, Context& context) {
  auto flags = std::make_shared<UpFlags>();
  CLI::App* command = app.add_subcommand("up", "Run a coordinator and agents on this machine");
  add_supervisor_options(*command, flags->options, flags->limit);
  command->footer(
      "Examples:\n  vmferry up\n  vmferry --home /srv/vmferry up --agents 3 --limit 200M\n");
  on_run(*command, context, [&context, flags] { return run_up(context, *flags); });
}

}  // namespace vmferry::cli
