#include <unistd.h>

#include <algorithm>
#include <map>
#include <ostream>

#include <nlohmann/json.hpp>

#include "cli/columns.h"
#include "cli/commands.h"
#include "cli/load_views.h"
#include "cli/object_output.h"
#include "cli/telemetry.h"
#include "common/catalogue.h"
#include "coordinator/dashboard/views.h"
#include "coordinator/embedded/manifest_writer.h"

namespace vmferry::cli {
namespace {

struct GetOptions {
  std::string kind, name, output;
  bool all_namespaces = false;
  bool show_secrets = false;
};

std::string known_kinds() {
  std::string names = "agents";
  for (const kube::ResourceType* type : kube::all_types()) names += ", " + type->plural;
  return names;
}

Result<int> get_agents(Context& context, const GetOptions& options, OutputForm form) {
  const embedded::Home home = TRY(context.home());
  Telemetry telemetry = TRY(Telemetry::connect(home));
  std::vector<AgentView> agents = TRY(telemetry.agents(context.stop));
  if (!options.name.empty()) {
    std::erase_if(agents, [&](const AgentView& view) { return view.agent.value != options.name; });
    if (agents.empty()) {
      return coded_error(ErrorKind::NotFound, code::kObjectNotFound, "there is no agent '{}'",
                         options.name);
    }
  }
  if (form == OutputForm::Name) {
    for (const AgentView& view : agents) context.out << view.agent.value << '\n';
  } else if (form == OutputForm::Json || form == OutputForm::Yaml) {  // JSON is YAML, too
    context.out << dashboard::to_json(agents).dump(2) << '\n';
  } else {
    context.out << agents_table(agents);
  }
  return kOk;
}

Result<std::vector<kube::Object>> read_objects(Context& context, kube::Reader& reader,
                                               const kube::ResourceType& type,
                                               const GetOptions& options) {
  const std::string ns = type.namespaced ? context.ns : "";
  if (options.name.empty()) {
    const std::string where = options.all_namespaces ? "" : ns;
    return TRY(reader.list(type, {.ns = where, .label_selector = {}}, context.stop)).items;
  }
  auto object = TRY(kube::get_if_exists(reader, type, {ns, options.name}, context.stop));
  if (!object) {
    return coded_error(ErrorKind::NotFound, code::kObjectNotFound, "there is no {}{}",
                       object_name(type, options.name),
                       type.namespaced ? " in namespace '" + ns + "'" : "");
  }
  return std::vector<kube::Object>{*std::move(object)};
}

// Manifests that lie there by now; a VM whose import still works on it has none.
Result<std::map<kube::ObjectKey, std::string>> manifests_of(Context& context, kube::Reader& reader,
                                                            const std::vector<kube::Object>& vms) {
  const embedded::Home home = TRY(context.home());
  std::map<kube::ObjectKey, std::string> manifests;
  for (const kube::Object& vm : vms) {
    std::string path = embedded::manifest_path(reader, vm, home.volumes());
    if (::access(path.c_str(), F_OK) == 0) manifests.emplace(vm.key(), std::move(path));
  }
  return manifests;
}

Result<std::string> table_of(Context& context, kube::Reader& reader, const kube::ResourceType& type,
                             std::vector<kube::Object> objects, const GetOptions& options,
                             bool wide) {
  TableOptions style{
      .with_namespace = options.all_namespaces, .wide = wide, .now = context.clock.wall()};
  if (type == kube::types::kVirtualMachine) {
    style.manifests = TRY(manifests_of(context, reader, objects));
  }
  if (type != kube::types::kVirtualMachineImport) {
    return objects_table(type, std::move(objects), style);
  }
  std::vector<std::string> names;
  if (!options.name.empty()) names.push_back(options.name);
  const std::string ns = options.all_namespaces ? "" : context.ns;
  const embedded::Home home = TRY(context.home());
  return imports_table(TRY(load_views(reader, home, ns, names, context.stop)), style);
}

Result<int> run_get(Context& context, const GetOptions& options) {
  const OutputForm form = TRY(parse_output_form(options.output));
  if (options.kind == "agents" || options.kind == "agent") {
    return get_agents(context, options, form);
  }
  const kube::ResourceType* type = kube::find_type(options.kind);
  if (type == nullptr) {
    return make_error(ErrorKind::InvalidArgument, "'{}' is not a kind; known are {}", options.kind,
                      known_kinds());
  }
  const auto store = TRY(context.open_store());
  std::vector<kube::Object> objects = TRY(read_objects(context, *store, *type, options));
  if (!options.show_secrets) {
    for (kube::Object& object : objects) object = masked(std::move(object));
  }
  if (form == OutputForm::Name) {
    for (const kube::Object& object : objects) {
      context.out << object_name(*type, object.name()) << '\n';
    }
  } else if (form == OutputForm::Yaml || form == OutputForm::Json) {
    context.out << objects_text(objects, options.name.empty(), form);
  } else if (objects.empty()) {
    context.err << fmt::format("no {} {}\n", type->plural,
                               options.all_namespaces || !type->namespaced
                                   ? "exist"
                                   : "in namespace '" + context.ns + "'");
  } else {
    context.out << TRY(
        table_of(context, *store, *type, std::move(objects), options, form == OutputForm::Wide));
  }
  return kOk;
}

}  // namespace

void add_get(CLI::App& app, Context& context) {
  auto options = std::make_shared<GetOptions>();
  CLI::App* command = app.add_subcommand("get", "List objects, or print one");
  command
      ->add_option("KIND", options->kind,
                   "imports, agents, claims, vms, events, secrets, mappings, storageclasses, ...")
      ->required();
  command->add_option("NAME", options->name, "only this one");
  command->add_option("-o,--output", options->output, "yaml, json, name or wide");
  command->add_flag("-A,--all-namespaces", options->all_namespaces, "of every namespace");
  command->add_flag("--show-secrets", options->show_secrets,
                    "with -o yaml|json: the values of Secrets instead of ***");
  command->footer(
      "Examples:\n  vmferry get imports\n  vmferry get claims -A\n  vmferry get agents\n"
      "  vmferry get vm web01 -o yaml\n");
  on_run(*command, context, [&context, options] { return run_get(context, *options); });
}

}  // namespace vmferry::cli
