#include <ostream>

#include "cli/apply_files.h"
#include "cli/commands.h"
#include "cli/telemetry.h"

namespace vmferry::cli {
namespace {

Result<int> run_apply(Context& context, const std::vector<std::string>& files) {
  const auto store = TRY(context.open_store());
  const auto objects = TRY(load_manifests(context, *store, *store, files));
  const auto imports = TRY(apply_manifests(context, *store, *store, objects));
  if (imports.empty()) return kOk;
  const embedded::Home home = TRY(context.home());
  Telemetry telemetry = TRY(Telemetry::connect(home));
  if (!telemetry.is_running(context.stop)) {
    context.err << "note: no coordinator runs in this home; start one with 'vmferry up'\n";
  }
  return kOk;
}

}  // namespace

void add_apply(CLI::App& app, Context& context) {
  auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("apply", "Create or change objects from YAML or JSON");
  command->add_option("-f,--filename", *files, "files or directories; - for standard input")
      ->required()
      ->type_name("PATH");
  command->footer(
      "All files are checked first: if one document is wrong, nothing is applied.\n\n"
      "Examples:\n  vmferry apply -f examples/vmware.yaml\n  vmferry apply -f secrets/ -f vms/\n"
      "  make-yaml | vmferry apply -f -\n");
  on_run(*command, context, [&context, files] { return run_apply(context, *files); });
}

}  // namespace vmferry::cli
