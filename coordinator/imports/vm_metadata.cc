#include <algorithm>

#include "coordinator/imports/names.h"
#include "coordinator/imports/vm_parts.h"
#include "coordinator/kube/bounded_json.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

constexpr const char* kOriginText = "vmimport.v2v.kubevirt.io/source-origin";
constexpr const char* kInstanceTypeText = "vmimport.v2v.kubevirt.io/source-instance-type";
constexpr const char* kTagsText = "vmimport.v2v.kubevirt.io/source-tags";

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
  return fmt::format("{}", fmt::join(parts, between));
}

// A label may hold less than any text: what was lost stands in an annotation.
void set_label(json& metadata, const char* key, const std::string& text, const char* exact_key) {
  const std::string value = label_value(text);
  object_at(metadata, "labels")[key] = value;
  if (value != text) object_at(metadata, "annotations")[exact_key] = text;
}

void set_tags(const SourceVm& vm, json& metadata) {
  std::vector<std::string> values;
  for (const std::string& tag : vm.tags) {
    std::string value = label_value(tag);
    if (!value.empty()) values.push_back(std::move(value));
  }
  object_at(metadata, "labels")["tags"] = label_value(joined(values, "."));
  const std::string exact = joined(vm.tags, ",");
  if (metadata["labels"]["tags"] != exact) object_at(metadata, "annotations")[kTagsText] = exact;
}

void set_ovirt_metadata(const SourceVm& vm, json& metadata) {
  set_label(metadata, "origin", vm.origin, kOriginText);
  if (!vm.instance_type.empty()) {
    set_label(metadata, "instanceType", vm.instance_type, kInstanceTypeText);
  }
  if (!vm.tags.empty()) set_tags(vm, metadata);
  json& annotations = object_at(metadata, "annotations");
  if (!vm.comment.empty()) annotations["comment"] = vm.comment;
  if (!vm.description.empty()) annotations["description"] = vm.description;
  if (vm.sso) annotations["sso"] = *vm.sso;
  // Only an HA machine is started again whatever ended it; one that its user shuts down stays down.
  annotations[std::string(api::kRunStrategy)] = vm.high_availability ? "Always" : "RerunOnFailure";
}

void set_vmware_metadata(const SourceVm& vm, json& metadata) {
  set_tags(vm, metadata);
  object_at(metadata, "annotations")["vmware-description"] = vm.description;
}

// A JSON object of strings that the user put on the import (api.md 9). What is no such object is
// left out here; check_request() tells the user.
void propagate_annotations(const kube::Object& import, json& annotations) {
  const std::optional<std::string> text = import.annotation(api::kPropagateAnnotations);
  if (!text) return;
  const json wanted = kube::parse_bounded_json(*text);
  if (!wanted.is_object()) return;
  for (const auto& [key, value] : wanted.items()) {
    if (value.is_string() && !annotations.contains(key)) annotations[key] = value;
  }
}

json owner_reference(const kube::Object& import) {
  const kube::ResourceType& type = kube::types::kVirtualMachineImport;
  return {{"apiVersion", type.api_version},
          {"kind", type.kind},
          {"name", import.name()},
          {"uid", import.uid()},
          {"controller", true},
          {"blockOwnerDeletion", true}};
}

// A guest without a name of its own calls itself "localhost", with whatever domain, or "(none)".
bool is_nameless(std::string_view host_name) {
  std::string first(host_name.substr(0, host_name.find('.')));
  for (char& c : first) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return first == "localhost" || first == "localhost4" || first == "localhost6" ||
         first == "(none)";
}

std::string guest_host_label(const SourceVm& vm) {
  if (is_nameless(vm.host_name)) return {};
  // VMware reports a host name or a full one: the first label is the host. The oVirt rule keeps the
  // domain, with dashes for dots.
  const std::string text = vm.provider == ProviderKind::Vmware
                               ? vm.host_name.substr(0, vm.host_name.find('.'))
                               : vm.host_name;
  const Result<std::string> label = normalize_label(text);
  return label ? *label : std::string();
}

}  // namespace

void build_metadata(const BuildInput& input, json& vm) {
  const kube::Object& import = input.import.object;
  vm["apiVersion"] = kube::types::kVirtualMachine.api_version;
  vm["kind"] = kube::types::kVirtualMachine.kind;
  vm.erase("status");

  json& metadata = object_at(vm, "metadata");
  // What a server wrote belongs to another object.
  for (const char* key : {"generateName", "uid", "resourceVersion", "creationTimestamp",
                          "generation", "managedFields", "selfLink", "finalizers"}) {
    metadata.erase(key);
  }
  metadata["name"] = input.vm_name;
  metadata["namespace"] = import.ns();
  metadata["ownerReferences"] = json::array({owner_reference(import)});

  if (input.vm.provider == ProviderKind::Ovirt) {
    set_ovirt_metadata(input.vm, metadata);
  } else {
    set_vmware_metadata(input.vm, metadata);
  }
  propagate_annotations(import, object_at(metadata, "annotations"));

  json& labels = object_at(metadata, "labels");
  const std::map<std::string, std::string> import_labels = import.labels();
  const auto tracker = import_labels.find(std::string(api::kTracker));
  if (tracker != import_labels.end()) labels[std::string(api::kTracker)] = tracker->second;
  labels[std::string(api::kImportUid)] = import.uid();

  json& pod_metadata = object_at(object_at(object_at(vm, "spec"), "template"), "metadata");
  object_at(pod_metadata, "labels")["vm.kubevirt.io/name"] = label_value(input.vm_name);
}

void build_hostname(const BuildInput& input, json& spec) {
  const std::string label = guest_host_label(input.vm);
  if (!label.empty()) {
    spec["hostname"] = label;
  } else if (input.vm.provider == ProviderKind::Vmware || !input.vm.host_name.empty()) {
    spec.erase("hostname");  // the source has a say, and says nothing usable
  }
}

}  // namespace vmferry::imports
