#include "coordinator/imports/observe.h"

#include <charconv>

#include "common/catalogue.h"

namespace vmferry::imports {
namespace {

// A kind that this cluster does not serve counts as having no objects.
Result<std::vector<kube::Object>> list_optional(Pass& pass, const kube::ResourceType& type) {
  auto list = pass.parts.reader.list(type, {}, pass.stop);
  if (list) return std::move(list->items);
  if (list.error().kind() == ErrorKind::NotFound) return std::vector<kube::Object>{};
  return std::move(list).error();
}

double parse_overhead(const nlohmann::json& value, double otherwise) {
  if (!value.is_string()) return otherwise;
  const std::string& text = value.get_ref<const std::string&>();
  double parsed = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  const bool valid = failure == std::errc() && end == text.data() + text.size();
  return valid && parsed >= 0 && parsed < 1 ? parsed : otherwise;
}

Result<void> observe_overhead(Pass& pass) {
  constexpr double kDefaultOverhead = 0.055;  // api.md 8.4
  auto config =
      kube::get_if_exists(pass.parts.reader, kube::types::kCdiConfig, {"", "config"}, pass.stop);
  if (!config) return std::move(config).error();
  pass.facts.overhead_known = !pass.parts.settings.embedded;
  if (!*config) return {};
  pass.facts.overhead_known = true;
  pass.facts.has_cdi = true;
  const nlohmann::json& json = (*config)->json();
  nlohmann::json overhead = json.value("/spec/filesystemOverhead"_json_pointer, nlohmann::json());
  if (const auto observed = json.value("/status/filesystemOverhead"_json_pointer, nlohmann::json());
      observed.is_object()) {
    overhead = observed;
  }
  if (!overhead.is_object()) return {};
  pass.facts.overhead_global =
      parse_overhead(overhead.value("global", nlohmann::json()), kDefaultOverhead);
  const nlohmann::json classes = overhead.value("storageClass", nlohmann::json::object());
  for (const auto& [name, value] : classes.items()) {
    pass.facts.overhead_by_class[name] = parse_overhead(value, pass.facts.overhead_global);
  }
  return {};
}

Result<void> observe_config(Pass& pass) {
  const std::string& ns = pass.parts.settings.config_namespace;
  const auto read = [&](const std::string& name) {
    return kube::get_if_exists(pass.parts.reader, kube::types::kConfigMap, {ns, name}, pass.stop);
  };
  const auto controller = TRY(read("vm-import-controller-config"));
  const auto gates = TRY(read("kubevirt-config"));
  pass.config = api::parse_controller_config(controller, gates, std::nullopt);
  if (pass.parts.settings.embedded) {
    // Nothing runs here: attachments are the business of the cluster the manifest is applied to,
    // and a VM without a template is better than none.
    pass.config.severity_overrides.try_emplace("network.target", "warn");
    pass.config.severity_overrides.try_emplace("vmware.network.target", "warn");
    const bool decided =
        controller && controller->json().contains("/data/importWithoutTemplate"_json_pointer);
    if (!decided) pass.config.import_without_template = true;
  }
  return {};
}

}  // namespace

Result<void> observe_cluster(Pass& pass) {
  pass.facts = {};
  for (kube::Object& object : TRY(list_optional(pass, kube::types::kStorageClass))) {
    const std::string name = object.name();
    pass.facts.storage_classes.emplace(name, std::move(object));
  }
  pass.facts.templates = TRY(list_optional(pass, kube::types::kTemplate));
  for (kube::Object& object : TRY(list_optional(pass, kube::types::kNetworkAttachmentDefinition))) {
    const kube::ObjectKey key = object.key();
    pass.facts.network_attachments.emplace(key, std::move(object));
  }
  for (const kube::Object& object : TRY(list_optional(pass, kube::types::kStorageProfile))) {
    pass.facts.profiles.emplace(object.name(), profile_from(object));
  }
  TRY(observe_overhead(pass));
  return observe_config(pass);
}

Result<void> observe_mappings(Pass& pass) {
  std::optional<api::Mappings> external;
  if (const auto& reference = pass.import.spec.resource_mapping) {
    const kube::ObjectKey key{reference->ns.value_or(pass.key().ns), reference->name};
    const auto object =
        TRY(kube::get_if_exists(pass.parts.reader, kube::types::kResourceMapping, key, pass.stop));
    if (!object) {
      return coded_error(ErrorKind::NotFound, code::kMappingMissing,
                         "ResourceMapping '{}' does not exist", key.to_string());
    }
    const api::ResourceMapping mapping = TRY(api::parse_resource_mapping(*object));
    external = pass.provider_kind() == ProviderKind::Ovirt ? mapping.ovirt : mapping.vmware;
  }
  pass.mappings = merge_mappings(pass.source().mappings, external);
  return {};
}

}  // namespace vmferry::imports
