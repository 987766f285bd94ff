#include <algorithm>
#include <iostream>

#include "cli/commands.h"
#include "cli/deletion.h"
#include "cli/duration.h"
#include "cli/manifest_files.h"
#include "coordinator/api/manifest.h"

namespace vmferry::cli {
namespace {

struct DeleteOptions {
  std::string kind;
  std::vector<std::string> names;
  std::vector<std::string> files;
  bool no_wait = false;
  std::string timeout = "5m";
};

struct Target {
  const kube::ResourceType* type;
  kube::ObjectKey key;
};

Result<std::vector<Target>> targets_in_files(Context& context, const DeleteOptions& options) {
  std::vector<Target> targets;
  const auto files = TRY(read_manifest_files(options.files, std::cin));
  for (const ManifestFile& file : files) {
    for (const auto& manifest : TRY(api::parse_manifests(file.text, file.name, context.ns))) {
      const kube::Object& object = manifest.object;
      const auto* type = kube::find_type(object.api_version(), object.kind());
      if (type == nullptr) {
        return make_error(ErrorKind::InvalidArgument, "{}: kind {} is none that VMFerry knows",
                          manifest.origin, object.kind());
      }
      targets.push_back({type, {type->namespaced ? object.ns() : "", object.name()}});
    }
  }
  // Imports first: undoing one needs the secret that stands above it in the file.
  std::ranges::stable_partition(
      targets, [](const Target& t) { return *t.type == kube::types::kVirtualMachineImport; });
  return targets;
}

Result<std::vector<Target>> named_targets(Context& context, const DeleteOptions& options) {
  const kube::ResourceType* type = kube::find_type(options.kind);
  if (type == nullptr) {
    return make_error(ErrorKind::InvalidArgument, "'{}' is not a kind", options.kind);
  }
  if (options.names.empty()) {
    return make_error(ErrorKind::InvalidArgument, "name at least one of the {} to delete",
                      type->plural);
  }
  std::vector<Target> targets;
  for (const std::string& name : options.names) {
    targets.push_back({type, {type->namespaced ? context.ns : "", name}});
  }
  return targets;
}

Result<int> run_delete(Context& context, const DeleteOptions& options) {
  if (options.kind.empty() == options.files.empty()) {
    return make_error(ErrorKind::InvalidArgument, "give either KIND NAME or -f FILE");
  }
  const DeletionOptions how{.wait = !options.no_wait,
                            .timeout = TRY(parse_duration(options.timeout))};
  const auto targets = TRY(options.files.empty() ? named_targets(context, options)
                                                 : targets_in_files(context, options));
  const auto store = TRY(context.open_store());
  int worst = kOk;
  for (const Target& target : targets) {
    auto outcome = delete_object(context, *store, *store, *target.type, target.key, how);
    if (!outcome && outcome.error().kind() == ErrorKind::Canceled) return outcome;
    if (!outcome) {
      context.err << error_text(outcome.error());
      // Of a file's objects some may be gone already: that is what was asked for.
      const bool gone = outcome.error().kind() == ErrorKind::NotFound && !options.files.empty();
      worst = std::max(worst, gone ? kOk : exit_code_of(outcome.error()));
      continue;
    }
    worst = std::max(worst, *outcome);
  }
  return worst;
}

}  // namespace

void add_delete(CLI::App& app, Context& context) {
  auto options = std::make_shared<DeleteOptions>();
  CLI::App* command = app.add_subcommand("delete", "Delete objects; deleting an import undoes it");
  command->add_option("KIND", options->kind, "import, secret, mapping, vm, ...");
  command->add_option("NAME", options->names, "objects to delete");
  command->add_option("-f,--filename", options->files, "the objects in these files")
      ->type_name("PATH");
  command->add_flag(
      "--wait,!--no-wait", [options](std::int64_t wait) { options->no_wait = wait < 0; },
      "wait until they are gone (default)");
  command->add_option("--timeout", options->timeout, "how long to wait for each")
      ->capture_default_str();
  command->footer(
      "An import that has not ended is stopped and undone: its claims go, its source VM is "
      "started\n"
      "again if the import had stopped it. That is the coordinator's work: 'vmferry up' must "
      "run.\n\n"
      "Examples:\n  vmferry delete import web01\n  vmferry delete -f examples/vmware.yaml\n");
  on_run(*command, context, [&context, options] { return run_delete(context, *options); });
}

}  // namespace vmferry::cli
