#include "coordinator/imports/observe.h"

#include <charconv>

#include "common/catalogue.h"
#include "coordinator/api/credentials.h"
#include "coordinator/imports/mapping.h"

namespace vmferry::imports {
namespace {

// A kind that this cluster does not serve counts as having no objects.
Result<std::vector<kube::Object>> list_optional(const Observer& observer,
                                                const kube::ResourceType& type) {
  auto list = observer.reader.list(type, {}, observer.stop);
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

Result<void> observe_overhead(const Observer& observer, ClusterView& view) {
  constexpr double kDefaultOverhead = 0.055;  // api.md 8.4
  auto config =
      kube::get_if_exists(observer.reader, kube::types::kCdiConfig, {"", "config"}, observer.stop);
  if (!config) return std::move(config).error();
  view.facts.overhead_known = !observer.settings.embedded;
  if (!*config) return {};
  view.facts.overhead_known = true;
  view.facts.has_cdi = true;
  const nlohmann::json& json = (*config)->json();
  nlohmann::json overhead = json.value("/spec/filesystemOverhead"_json_pointer, nlohmann::json());
  if (const auto observed = json.value("/status/filesystemOverhead"_json_pointer, nlohmann::json());
      observed.is_object()) {
    overhead = observed;
  }
  if (!overhead.is_object()) return {};
  view.facts.overhead_global =
      parse_overhead(overhead.value("global", nlohmann::json()), kDefaultOverhead);
  const nlohmann::json classes = overhead.value("storageClass", nlohmann::json::object());
  for (const auto& [name, value] : classes.items()) {
    view.facts.overhead_by_class[name] = parse_overhead(value, view.facts.overhead_global);
  }
  return {};
}

Result<void> observe_config(const Observer& observer, ClusterView& view) {
  const std::string& ns = observer.settings.config_namespace;
  const auto read = [&](const std::string& name) {
    return kube::get_if_exists(observer.reader, kube::types::kConfigMap, {ns, name}, observer.stop);
  };
  const auto controller = TRY(read("vm-import-controller-config"));
  const auto gates = TRY(read("kubevirt-config"));
  view.config = api::parse_controller_config(controller, gates, std::nullopt);
  if (observer.settings.embedded) {
    // Nothing runs here: attachments are the business of the cluster the manifest is applied to,
    // and a VM without a template is better than none.
    view.config.severity_overrides.try_emplace("network.target", "warn");
    view.config.severity_overrides.try_emplace("vmware.network.target", "warn");
    const bool decided =
        controller && controller->json().contains("/data/importWithoutTemplate"_json_pointer);
    if (!decided) view.config.import_without_template = true;
  }
  return {};
}

// Maps of a user's ConfigMap lie over the built-in ones.
Result<OsMaps> observe_os_maps(const Observer& observer, const api::ControllerConfig& config) {
  OsMaps maps = builtin_os_maps();
  if (config.os_config_map_name.empty()) return maps;
  const kube::ObjectKey key{config.os_config_map_namespace.empty()
                                ? observer.settings.config_namespace
                                : config.os_config_map_namespace,
                            config.os_config_map_name};
  const kube::Object user = TRY(observer.reader.get(kube::types::kConfigMap, key, observer.stop));
  return overlay_os_maps(std::move(maps), user);
}

// Whether another import of the namespace has decided for the same name and still works on it.
Result<std::optional<std::string>> import_with_name(const Observer& observer,
                                                    const kube::Object& import,
                                                    const std::string& vm_name) {
  const kube::ObjectList list =
      TRY(observer.reader.list(kube::types::kVirtualMachineImport,
                               {.ns = import.ns(), .label_selector = {}}, observer.stop));
  for (const kube::Object& object : list.items) {
    if (object.uid() == import.uid()) continue;
    const auto other = api::parse_import(object);
    if (!other || other->status.target_vm_name != vm_name) continue;
    if (api::find_condition(other->status.conditions, "Succeeded") == nullptr) {
      return std::optional(object.name());
    }
  }
  return std::optional<std::string>();
}

}  // namespace

Result<ClusterView> observe_cluster(const Observer& observer) {
  ClusterView view;
  for (kube::Object& object : TRY(list_optional(observer, kube::types::kStorageClass))) {
    const std::string name = object.name();
    view.facts.storage_classes.emplace(name, std::move(object));
  }
  view.facts.templates = TRY(list_optional(observer, kube::types::kTemplate));
  for (kube::Object& object :
       TRY(list_optional(observer, kube::types::kNetworkAttachmentDefinition))) {
    const kube::ObjectKey key = object.key();
    view.facts.network_attachments.emplace(key, std::move(object));
  }
  for (const kube::Object& object : TRY(list_optional(observer, kube::types::kStorageProfile))) {
    view.facts.profiles.emplace(object.name(), profile_from(object));
  }
  TRY(observe_overhead(observer, view));
  TRY(observe_config(observer, view));
  view.os_maps = observe_os_maps(observer, view.config);
  return view;
}

Result<std::optional<api::Mappings>> observe_external_mappings(
    const Observer& observer, const api::VirtualMachineImport& import) {
  const auto& reference = import.spec.resource_mapping;
  if (!reference) return std::optional<api::Mappings>();
  const kube::ObjectKey key{reference->ns.value_or(import.object.ns()), reference->name};
  const auto object =
      TRY(kube::get_if_exists(observer.reader, kube::types::kResourceMapping, key, observer.stop));
  if (!object) {
    return coded_error(ErrorKind::NotFound, code::kMappingMissing,
                       "ResourceMapping '{}' does not exist", key.to_string());
  }
  const api::ResourceMapping mapping = TRY(api::parse_resource_mapping(*object));
  return provider_kind(import.spec) == ProviderKind::Ovirt ? mapping.ovirt : mapping.vmware;
}

Result<ProviderCredentials> observe_credentials(const Observer& observer,
                                                const api::VirtualMachineImport& import) {
  const api::ObjectIdentifier& id = import.spec.credentials_secret;
  const kube::ObjectKey key{id.ns.value_or(import.object.ns()), id.name};
  const auto secret =
      TRY(kube::get_if_exists(observer.reader, kube::types::kSecret, key, observer.stop));
  if (!secret) {
    return coded_error(ErrorKind::NotFound, code::kSecretMissing, "secret '{}' does not exist",
                       key.to_string());
  }
  auto credentials = api::parse_credentials(provider_kind(import.spec), *secret);
  if (credentials) return credentials;
  return std::move(credentials).error().with_context(fmt::format("secret '{}'", key.to_string()));
}

Result<std::optional<std::string>> name_conflict(const Observer& observer,
                                                 const api::VirtualMachineImport& import,
                                                 const std::string& vm_name) {
  const std::string ns = import.object.ns();
  const auto vm = TRY(kube::get_if_exists(observer.reader, kube::types::kVirtualMachine,
                                          {ns, vm_name}, observer.stop));
  if (vm && !vm->controlled_by(import.object.uid())) {
    return std::optional(fmt::format(
        "VirtualMachine '{}/{}' exists already; set spec.targetVmName to another name or remove it",
        ns, vm_name));
  }
  const auto other = TRY(import_with_name(observer, import.object, vm_name));
  if (other) {
    return std::optional(fmt::format(
        "import '{}' makes VirtualMachine '{}' already; set spec.targetVmName to another name",
        *other, vm_name));
  }
  return std::optional<std::string>();
}

ProviderKind provider_kind(const api::ImportSpec& spec) {
  return spec.ovirt ? ProviderKind::Ovirt : ProviderKind::Vmware;
}

const api::SourceSection& source_section(const api::ImportSpec& spec) {
  return spec.ovirt ? *spec.ovirt : *spec.vmware;
}

}  // namespace vmferry::imports
