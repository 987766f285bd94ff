#include <ostream>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/describe_text.h"
#include "cli/load_views.h"
#include "cli/object_output.h"
#include "cli/telemetry.h"
#include "common/catalogue.h"

namespace vmferry::cli {
namespace {

Result<std::vector<kube::Object>> events_about(Context& context, kube::Reader& reader,
                                               const kube::Object& object) {
  std::vector<kube::Object> events;
  auto list = TRY(
      reader.list(kube::types::kEvent, {.ns = object.ns(), .label_selector = {}}, context.stop));
  for (kube::Object& event : list.items) {
    const nlohmann::json::json_pointer uid("/involvedObject/uid");
    if (event.json().contains(uid) && event.json().at(uid) == object.uid()) {
      events.push_back(std::move(event));
    }
  }
  return events;
}

Result<int> run_describe(Context& context, const std::string& kind, const std::string& name) {
  const kube::ResourceType* type = kube::find_type(kind);
  if (type == nullptr) {
    return make_error(ErrorKind::InvalidArgument, "'{}' is not a kind", kind);
  }
  const auto store = TRY(context.open_store());
  const kube::ObjectKey key{type->namespaced ? context.ns : "", name};
  const auto object = TRY(kube::get_if_exists(*store, *type, key, context.stop));
  if (!object) {
    return coded_error(ErrorKind::NotFound, code::kObjectNotFound, "there is no {}{}",
                       object_name(*type, name),
                       type->namespaced ? " in namespace '" + context.ns + "'" : "");
  }
  if (*type != kube::types::kVirtualMachineImport) {
    context.out << objects_text({masked(*object)}, false, OutputForm::Yaml);
    return kOk;
  }
  const auto import = TRY(api::parse_import(*object));
  const embedded::Home home = TRY(context.home());
  const auto views = TRY(load_views(*store, home, {key}, context.stop));
  const auto events = TRY(events_about(context, *store, *object));
  context.out << describe_text(import, views.front(), events, context.clock.wall());
  return kOk;
}

}  // namespace

void add_describe(CLI::App& app, Context& context) {
  auto kind = std::make_shared<std::string>();
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "describe", "Tell all about an import: conditions, findings, disks, events");
  command->add_option("KIND", *kind, "import; other kinds are printed as YAML")->required();
  command->add_option("NAME", *name, "its name")->required();
  command->footer("Example:\n  vmferry describe import web01\n");
  on_run(*command, context, [&context, kind, name] { return run_describe(context, *kind, *name); });
}

}  // namespace vmferry::cli
