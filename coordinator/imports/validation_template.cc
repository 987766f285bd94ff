#include <cmath>

#include "common/bytes.h"
#include "coordinator/imports/validation_parts.h"

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
  json rules = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  return rules.is_array() ? rules : json::array();
}

// A bound in bytes; JSON paths, which the format allows too, are no numbers and bind nothing.
std::optional<double> bound(const json& rule, const char* key) {
  const auto found = rule.find(key);
  if (found == rule.end() || !found->is_number()) return std::nullopt;
  return std::round(found->get<double>());
}

}  // namespace

std::vector<Finding> check_template(const SourceVm& vm, const kube::Object& object) {
  std::vector<Finding> findings;
  if (vm.memory_bytes == 0) return findings;
  const auto memory = static_cast<double>(vm.memory_bytes);
  const json rules = validation_rules(object);
  for (const json& rule : rules) {
    if (!rule.is_object() || rule.value("name", json()) != "minimal-required-memory") continue;
    const std::optional<double> least = bound(rule, "min");
    const std::optional<double> most = bound(rule, "max");
    const bool too_small = least && memory < *least;
    if (!too_small && !(most && memory > *most)) continue;
    const bool warns = rule.value("justWarning", json(false)) == json(true);
    const double limit = too_small ? *least : *most;
    findings.push_back(
        {vm.provider == ProviderKind::Ovirt ? "vm.memory template.requests"
                                            : "vmware.vm.memory_template",
         warns ? FindingLevel::Warn : FindingLevel::Block, FindingGroup::Rules,
         fmt::format("the VM has {} of memory, template '{}' wants at {} {}",
                     human_bytes(vm.memory_bytes), object.name(), too_small ? "least" : "most",
                     human_bytes(limit <= 0 ? 0 : static_cast<std::uint64_t>(limit))),
         "change the VM's memory at the source, or provide a template that fits"});
  }
  return findings;
}

}  // namespace vmferry::imports
