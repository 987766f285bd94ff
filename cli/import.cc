#include <unistd.h>

#include <algorithm>
#include <ostream>

#include "cli/apply_files.h"
#include "cli/commands.h"
#include "cli/duration.h"
#include "cli/follow.h"
#include "cli/import_report.h"
#include "cli/supervisor.h"
#include "common/bytes.h"
#include "coordinator/embedded/manifest_writer.h"

namespace vmferry::cli {
namespace {

constexpr std::chrono::seconds kManifestLimit{5};
constexpr std::chrono::milliseconds kPoll{100};

struct ImportFlags {
  std::vector<std::string> files;
  UpOptions up;
  std::string limit = "0";
  std::string blocked_timeout = "15s";
  bool keep_running = false;
};

// The manifests of the VMs that were made. The writer follows the objects a moment behind.
Result<std::map<kube::ObjectKey, std::string>> manifests_of(Context& context, kube::Reader& reader,
                                                            const std::vector<ImportView>& views) {
  std::map<kube::ObjectKey, std::string> paths;
  const embedded::Home home = TRY(context.home());
  const SteadyTime end = context.clock.steady() + kManifestLimit;
  for (const ImportView& view : views) {
    if (view.outcome != ImportOutcome::Succeeded) continue;
    const kube::ObjectKey key{view.key.ns, view.target_vm};
    const auto vm =
        TRY(kube::get_if_exists(reader, kube::types::kVirtualMachine, key, context.stop));
    if (!vm) continue;
    const std::string path = embedded::manifest_path(reader, *vm, home.volumes());
    while (::access(path.c_str(), R_OK) != 0 && context.clock.steady() < end) {
      if (!context.clock.sleep(kPoll, context.stop)) break;
    }
    const bool written = ::access(path.c_str(), R_OK) == 0;
    paths[view.key] = written ? path : path + " (not written yet)";
  }
  return paths;
}

Result<int> run_import(Context& context, const ImportFlags& flags) {
  UpOptions up = flags.up;
  up.limit_bytes_per_second = TRY(parse_size(flags.limit));
  const auto blocked_limit = TRY(parse_duration(flags.blocked_timeout));
  const embedded::Home home = TRY(context.home());
  const auto store = TRY(context.open_store());
  // What is wrong with the files is told before anything is started.
  const auto objects = TRY(load_manifests(context, *store, *store, flags.files));
  const bool has_imports = std::ranges::any_of(objects, [](const api::ManifestObject& manifest) {
    return manifest.object.kind() == kube::types::kVirtualMachineImport.kind;
  });
  if (!has_imports) {
    return make_error(ErrorKind::InvalidArgument,
                      "there is no VirtualMachineImport in these files; use 'vmferry apply' for "
                      "other objects");
  }
  std::unique_ptr<Supervisor> supervisor;
  if (!is_up(home)) {
    supervisor = TRY(Supervisor::start(home, up, context.log, context.stop));
    context.out << fmt::format("started a coordinator and {} agents in '{}'\n", up.agents,
                               home.path())
                << std::flush;
  }
  const SteadyTime start = context.clock.steady();
  const auto keys = TRY(apply_manifests(context, *store, *store, objects));
  const auto views = TRY(follow(context, *store, keys, blocked_limit));
  const double seconds = Seconds(context.clock.steady() - start).count();
  const auto manifests = TRY(manifests_of(context, *store, views));
  context.out << '\n' << summary_text(views, manifests, seconds) << std::flush;
  if (supervisor && flags.keep_running) {
    context.out << "coordinator and agents keep running until Ctrl-C\n" << std::flush;
    while (context.clock.sleep(std::chrono::hours(1), context.stop)) {
    }
  }
  return exit_code_of(views);
}

}  // namespace

void add_import(CLI::App& app, Context& context) {
  auto flags = std::make_shared<ImportFlags>();
  CLI::App* command = app.add_subcommand(
      "import", "All in one go: start what is needed, apply, show progress, report, stop");
  command->add_option("-f,--filename", flags->files, "files or directories; - for standard input")
      ->required()
      ->type_name("PATH");
  add_supervisor_options(*command, flags->up, flags->limit);
  command
      ->add_option("--blocked-timeout", flags->blocked_timeout,
                   "an import that checks block for so long, unchanged, counts as failed")
      ->capture_default_str();
  command->add_flag("--keep-running", flags->keep_running,
                    "leave coordinator and agents running at the end, until Ctrl-C");
  command->footer(
      "Uses the coordinator and agents of 'vmferry up' when they run already. Ctrl-C stops what "
      "was\n"
      "started; the same command goes on where it stopped.\n"
      "Exit codes: 0 all succeeded, 1 one failed or is blocked, 3 the files are wrong.\n\n"
      "Examples:\n  vmferry import -f examples/vmware.yaml\n"
      "  vmferry import -f vms/ --agents 4 --limit 200M\n");
  on_run(*command, context, [&context, flags] { return run_import(context, *flags); });
}

}  // namespace vmferry::cli
