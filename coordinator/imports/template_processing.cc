#include "coordinator/imports/template_processing.h"

#include "common/catalogue.h"
#include "coordinator/imports/names.h"
#include "coordinator/imports/template_search.h"
#include "coordinator/imports/templates.h"
#include "coordinator/imports/vm_parts.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

constexpr std::string_view kDisplayName = "name.os.template.kubevirt.io/";

bool is_virtual_machine(const json& object) {
  if (!object.is_object()) return false;
  const kube::Object candidate(object);
  return candidate.kind() == "VirtualMachine" &&
         candidate.api_version().starts_with("kubevirt.io/");
}

// The source's disks and networks take the place of the template's.
void clear_disks_and_networks(json& vm) {
  json& spec = object_at(vm, "spec");
  spec.erase("dataVolumeTemplates");
  json& pod_spec = object_at(object_at(spec, "template"), "spec");
  json& devices = object_at(object_at(pod_spec, "domain"), "devices");
  for (const char* key : {"disks", "interfaces", "filesystems"}) devices.erase(key);
  pod_spec.erase("volumes");
  pod_spec.erase("networks");
}

void set_labels(const TemplateMatch& match, const std::string& vm_name, json& vm) {
  json& labels = object_at(object_at(vm, "metadata"), "labels");
  json& pod_labels =
      object_at(object_at(object_at(object_at(vm, "spec"), "template"), "metadata"), "labels");
  labels["vm.kubevirt.io/template"] = label_value(match.object.name());
  if (!match.object.ns().empty()) labels["vm.kubevirt.io/template.namespace"] = match.object.ns();
  if (!vm_name.empty()) pod_labels["vm.kubevirt.io/name"] = label_value(vm_name);

  const auto both = [&](std::string_view prefix, const std::string& value) {
    // The OS came from a user's map: what is no key stays out rather than have the VM refused.
    const std::string name = label_value(value);
    if (name.empty()) return;
    labels[std::string(prefix) + name] = "true";
    pod_labels[std::string(prefix) + name] = "true";
  };
  both(kOsLabel, match.os);
  both(kWorkloadLabel, match.workload);
  both(kFlavorLabel, match.flavor);
}

void set_display_name(const TemplateMatch& match, json& vm) {
  const std::string os = label_value(match.os);
  if (os.empty()) return;
  const std::string label_os = match.label_os.empty() ? match.os : match.label_os;
  object_at(object_at(vm, "metadata"), "annotations")[std::string(kDisplayName) + os] =
      match.object.annotation(std::string(kDisplayName) + label_os).value_or("");
}

}  // namespace

Result<kube::Object> process_template(const TemplateMatch& match, const std::string& vm_name) {
  const json& source = match.object.json();
  const std::string context = "template '" + match.object.name() + "'";
  const json parameters = source.value("parameters", json::array());
  auto values = parameter_values(filled_parameters(parameters, vm_name), system_random());
  if (!values) return std::move(values).error().with_context(context);

  const json objects = source.value("objects", json::array());
  for (const json& object : objects) {
    if (!is_virtual_machine(object)) continue;
    auto expanded = expand_object(object, source.value("labels", json()), *values);
    if (!expanded) return std::move(expanded).error().with_context(context);
    json vm = *std::move(expanded);
    vm["apiVersion"] = kube::types::kVirtualMachine.api_version;
    clear_disks_and_networks(vm);
    set_labels(match, vm_name, vm);
    set_display_name(match, vm);
    return kube::Object(std::move(vm));
  }
  return coded_error(ErrorKind::InvalidArgument, code::kTemplate,
                     "{} has no VirtualMachine among its objects; use a template made for KubeVirt",
                     context);
}

}  // namespace vmferry::imports
