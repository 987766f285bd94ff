#include <algorithm>
#include <cmath>

#include "common/bytes.h"
#include "coordinator/imports/validation_parts.h"
#include "coordinator/kube/bounded_json.h"
#include "coordinator/rules/findings.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

// Where current templates keep their rules: on the VirtualMachine inside; older ones on themselves.
json validation_rules(const kube::Object& object) {
  std::optional<std::string> text;
  const json objects = object.json().value("objects", json::array());
  for (const json& inner : objects) {
    if (!inner.is_object() || inner.value("kind", json()) != "VirtualMachine") continue;
    text = kube::Object(inner).annotation("vm.kubevirt.io/validations");
    break;
  }
  if (!text) text = object.annotation("validations");
  if (!text) return json::array();
  json rules = kube::parse_bounded_json(*text);
  return rules.is_array() ? rules : json::array();
}

// A bound in bytes; JSON paths, which the format allows too, are no numbers and bind nothing.
std::optional<double> bound(const json& rule, const char* key) {
  const auto found = rule.find(key);
  if (found == rule.end() || !found->is_number()) return std::nullopt;
  return std::round(found->get<double>());
}

bool only_warns(const json& rule) { return rule.value("justWarning", json(false)) == json(true); }

void check_memory(const SourceVm& vm, const kube::Object& object, const json& rule,
                  rules::Findings& findings) {
  if (vm.memory_bytes == 0) return;
  const auto memory = static_cast<double>(vm.memory_bytes);
  const std::optional<double> least = bound(rule, "min");
  const std::optional<double> most = bound(rule, "max");
  const bool too_small = least && memory < *least;
  if (!too_small && !(most && memory > *most)) return;
  const double limit = too_small ? *least : *most;
  const std::string wanted =
      fmt::format("{} {}", too_small ? "least" : "most",
                  human_bytes(limit <= 0 ? 0 : static_cast<std::uint64_t>(limit)));
  if (only_warns(rule)) {
    findings.add_of(vm.provider, "vm.memory template.requests/warning",
                    "vmware.vm.memory_template/warning", human_bytes(vm.memory_bytes),
                    object.name(), wanted);
  } else {
    findings.add_of(vm.provider, "vm.memory template.requests", "vmware.vm.memory_template",
                    human_bytes(vm.memory_bytes), object.name(), wanted);
  }
}

// A list of devices that a template's rule looks into, and the attribute it allows values of. Paths
// start at the instance's spec, with or without "jsonpath::".
using DeviceRule = rules::RuleName<std::string, std::string, std::string, std::string>;
struct DeviceList {
  std::string_view path;     // what stands in the rule
  DeviceRule blocks, warns;  // ours
  const char* list;
  const char* attribute;
  const char* what;
};

constexpr DeviceList kDeviceLists[] = {
    {".spec.domain.devices.disks[*].disk.bus", "template.disk_bus", "template.disk_bus/warning",
     "disks", "/disk/bus", "disk bus"},
    {".spec.domain.devices.disks[*].cdrom.bus", "template.disk_bus", "template.disk_bus/warning",
     "disks", "/cdrom/bus", "CD-ROM bus"},
    {".spec.domain.devices.interfaces[*].model", "template.nic_model", "template.nic_model/warning",
     "interfaces", "/model", "NIC model"},
};

std::string path_of(const json& rule, const char* key) {
  const auto found = rule.find(key);
  if (found == rule.end() || !found->is_string()) return {};
  std::string path = found->get<std::string>();
  constexpr std::string_view kScheme = "jsonpath::";
  if (path.starts_with(kScheme)) path.erase(0, kScheme.size());
  return path;
}

std::vector<std::string> texts(const json& list) {
  std::vector<std::string> result;
  if (!list.is_array()) return result;
  for (const json& item : list) {
    if (item.is_string()) result.push_back(item.get<std::string>());
  }
  return result;
}

// The attribute's distinct values in the VM, in order of the devices. Devices without it have none:
// a rule's "valid" path names the same attribute, and makes it apply to those that have it.
std::vector<std::string> used_values(const DeviceList& list, const kube::Object& built) {
  static const json::json_pointer kDevices("/spec/template/spec/domain/devices");
  std::vector<std::string> values;
  const json& vm = built.json();
  if (!vm.contains(kDevices / list.list)) return values;
  for (const json& device : vm.at(kDevices / list.list)) {
    const json value = device.value(json::json_pointer(list.attribute), json());
    if (!value.is_string()) continue;
    std::string text = value.get<std::string>();
    if (std::ranges::find(values, text) == values.end()) values.push_back(std::move(text));
  }
  return values;
}

void check_devices(const kube::Object& object, const kube::Object& built, const json& rule,
                   rules::Findings& findings) {
  const std::string path = path_of(rule, "path");
  const auto list = std::ranges::find(kDeviceLists, path, &DeviceList::path);
  if (list == std::end(kDeviceLists)) return;
  const std::vector<std::string> allowed = texts(rule.value("values", json()));
  if (allowed.empty()) return;
  for (const std::string& value : used_values(*list, built)) {
    if (std::ranges::find(allowed, value) != allowed.end()) continue;
    findings.add<std::string, std::string, std::string, std::string>(
        only_warns(rule) ? list->warns : list->blocks, list->what, value, object.name(),
        fmt::format("{}", fmt::join(allowed, ", ")));
  }
}

}  // namespace

std::vector<Finding> check_template(const SourceVm& vm, const kube::Object& object,
                                    const kube::Object& built) {
  rules::Findings findings;
  const json wanted = validation_rules(object);
  for (const json& rule : wanted) {
    if (!rule.is_object()) continue;
    if (rule.value("name", json()) == "minimal-required-memory") {
      check_memory(vm, object, rule, findings);
    } else if (rule.value("rule", json()) == "enum") {
      check_devices(object, built, rule, findings);
    }
  }
  return findings.take();
}

}  // namespace vmferry::imports
