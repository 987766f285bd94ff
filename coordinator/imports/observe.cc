#include "coordinator/imports/observe.h"

#include <algorithm>
#include <charconv>
#include <tuple>

#include "common/catalogue.h"
#include "coordinator/api/credentials.h"
#include "coordinator/imports/disk_overrides.h"
#include "coordinator/imports/mapping.h"
#include "coordinator/imports/names.h"
#include "coordinator/imports/template_sources.h"
#include "coordinator/imports/validation.h"
#include "coordinator/kube/optional_types.h"
#include "coordinator/rules/findings.h"

namespace vmferry::imports {
namespace {

struct Look {
  kube::Reader& reader;
  const ObservationScope& scope;
  std::stop_token stop;
};

// Nothing where this cluster does not serve the kind.
Result<std::optional<std::vector<kube::Object>>> list_if_served(
    const Look& look, const kube::ResourceType& type, const kube::ListOptions& options = {}) {
  auto list = look.reader.list(type, options, look.stop);
  if (list) return std::optional(std::move(list->items));
  if (list.error().kind() == ErrorKind::NotFound) return std::optional<std::vector<kube::Object>>();
  return std::move(list).error();
}

// What only improves a decision: absent, and kept from us, are the same.
Result<std::vector<kube::Object>> list_if_allowed(const Look& look,
                                                  const kube::ResourceType& type) {
  auto list = list_if_served(look, type);
  if (list) return std::move(*list).value_or(std::vector<kube::Object>{});
  if (list.error().kind() == ErrorKind::PermissionDenied) return std::vector<kube::Object>{};
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

Result<void> observe_overhead(const Look& look, ClusterFacts& facts) {
  constexpr double kDefaultOverhead = 0.055;  // api.md 8.4
  const auto config =
      TRY(kube::get_if_exists(look.reader, kube::types::kCdiConfig, {"", "config"}, look.stop));
  facts.overhead_known = !look.scope.embedded;
  facts.local_sources = look.scope.embedded;
  if (!config) return {};
  facts.overhead_known = true;
  facts.has_cdi = true;
  const nlohmann::json& json = config->json();
  nlohmann::json overhead = json.value("/spec/filesystemOverhead"_json_pointer, nlohmann::json());
  if (const auto observed = json.value("/status/filesystemOverhead"_json_pointer, nlohmann::json());
      observed.is_object()) {
    overhead = observed;
  }
  if (!overhead.is_object()) return {};
  facts.overhead_global =
      parse_overhead(overhead.value("global", nlohmann::json()), kDefaultOverhead);
  const nlohmann::json classes = overhead.value("storageClass", nlohmann::json::object());
  for (const auto& [name, value] : classes.items()) {
    facts.overhead_by_class[name] = parse_overhead(value, facts.overhead_global);
  }
  return {};
}

// The configured namespaces, then the controller's, then the import's (os-and-templates.md 3).
std::vector<std::string> template_namespaces(const Look& look,
                                             const api::ControllerConfig& config) {
  std::vector<std::string> namespaces = config.template_namespaces;
  for (const std::string& ns : {look.scope.config_namespace, look.scope.import_namespace}) {
    if (!ns.empty() && std::ranges::find(namespaces, ns) == namespaces.end()) {
      namespaces.push_back(ns);
    }
  }
  return namespaces;
}

Result<void> observe_templates(const Look& look, ClusterFacts& facts) {
  const auto take = [&facts](ShippedTemplates shipped) {
    std::ranges::move(shipped.templates, std::back_inserter(facts.templates));
    std::ranges::move(shipped.findings, std::back_inserter(facts.findings));
  };
  facts.has_template_api = !look.scope.embedded;
  std::vector<kube::Object> config_maps;
  for (const std::string& ns : facts.template_namespaces) {
    auto served =
        TRY(list_if_served(look, kube::types::kTemplate, {.ns = ns, .label_selector = {}}));
    if (!served) facts.has_template_api = false;
    if (served) std::ranges::move(*served, std::back_inserter(facts.templates));
  }
  for (const std::string& ns : facts.template_namespaces) {
    const auto maps = TRY(list_if_served(
        look, kube::types::kConfigMap, {.ns = ns, .label_selector = std::string(kTemplatesLabel)}));
    if (!maps) continue;
    for (const kube::Object& map : *maps) take(templates_of(map));
  }
  if (!look.scope.template_directory.empty()) take(templates_in(look.scope.template_directory));
  return {};
}

Result<UserOsMaps> observe_os_maps(const Look& look, const api::ControllerConfig& config) {
  UserOsMaps result{.maps = configured_os_maps(config), .problem = {}, .note = {}};
  if (config.os_config_map_name.empty()) {
    if (!config.os_config_map_namespace.empty()) {
      result.note = rules::finding("os.config_map", config.os_config_map_namespace);
    }
    return result;
  }
  const kube::ObjectKey key{config.os_config_map_namespace.empty() ? look.scope.config_namespace
                                                                   : config.os_config_map_namespace,
                            config.os_config_map_name};
  const auto user = TRY(kube::get_if_exists(look.reader, kube::types::kConfigMap, key, look.stop));
  if (!user) {
    result.problem = coded_error(ErrorKind::NotFound, code::kTemplate,
                                 "user OS config map '{}' does not exist; create it, or correct "
                                 "osConfigMap in the controller's config map",
                                 key.to_string());
    return result;
  }
  auto overlaid = overlay_os_maps(result.maps, *user);
  if (overlaid) {
    result.maps = *std::move(overlaid);
  } else {
    result.problem = std::move(overlaid).error();
  }
  return result;
}

// The name that an import has decided for or, before that, the one that it is bound to decide for.
// Empty: only its source can tell.
std::string claimed_name(const api::VirtualMachineImport& import) {
  if (!import.status.target_vm_name.empty()) return import.status.target_vm_name;
  if (import.spec.target_vm_name) return *import.spec.target_vm_name;
  const auto& section = import.spec.ovirt ? import.spec.ovirt : import.spec.vmware;
  if (!section || section->vm_name.empty()) return {};
  auto name = normalize_label(section->vm_name);
  return name ? *std::move(name) : std::string();
}

// Seen without reading all of it: a namespace may have thousands, and each is asked about each.
bool claims_another(const kube::Object& import, const std::string& vm_name) {
  for (const char* const part : {"status", "spec"}) {
    const auto section = import.json().find(part);
    if (section == import.json().end() || !section->is_object()) continue;
    const auto name = section->find("targetVmName");
    if (name == section->end() || !name->is_string()) continue;
    const std::string& text = name->get_ref<const std::string&>();
    if (!text.empty()) return text != vm_name;
  }
  return false;
}

// Of imports that want one name, who has decided comes first, then the older one; so that exactly
// one gets it, whoever asks first. One that is not applied yet has no age and comes last.
auto precedence(const api::VirtualMachineImport& import) {
  const std::string created = import.object.creation_timestamp();
  return std::tuple(import.status.target_vm_name.empty(), created.empty(), created,
                    import.object.name());
}

// Another import of the namespace that is not over and has a better right to the name (ADM-17).
Result<std::optional<std::string>> import_with_name(kube::Reader& reader,
                                                    const api::VirtualMachineImport& import,
                                                    const std::string& vm_name,
                                                    std::stop_token stop) {
  const kube::SharedObjects list = TRY(reader.list_shared(
      kube::types::kVirtualMachineImport, {.ns = import.object.ns(), .label_selector = {}}, stop));
  for (const auto& shared : list) {
    const kube::Object& object = *shared;
    // By key: imports that are not applied yet have no uid of their own.
    if (claims_another(object, vm_name) || object.key() == import.object.key()) continue;
    const auto other = api::parse_import(object);
    if (!other || claimed_name(*other) != vm_name) continue;
    if (api::find_condition(other->status.conditions, "Succeeded") != nullptr) continue;
    if (precedence(*other) < precedence(import)) return std::optional(object.name());
  }
  return std::optional<std::string>();
}

}  // namespace

Result<api::ControllerConfig> observe_config(kube::Reader& reader, const ObservationScope& scope,
                                             std::stop_token stop) {
  const Look look{reader, scope, stop};
  const auto read = [&](const std::string& name) {
    return kube::get_if_exists(reader, kube::types::kConfigMap, {scope.config_namespace, name},
                               stop);
  };
  const auto controller = TRY(read("vm-import-controller-config"));
  const auto gates = TRY(read("kubevirt-config"));
  std::optional<kube::Object> kubevirt;
  std::vector<kube::Object> kubevirts = TRY(list_if_allowed(look, kube::types::kKubeVirt));
  if (!kubevirts.empty()) kubevirt = std::move(kubevirts.front());
  api::ControllerConfig config = api::parse_controller_config(controller, gates, kubevirt);
  if (scope.embedded) {
    config.severity_overrides.try_emplace("network.target", "warn");
    config.severity_overrides.try_emplace("vmware.network.target", "warn");
    const bool decided =
        controller && controller->json().contains("/data/importWithoutTemplate"_json_pointer);
    if (!decided) config.import_without_template = true;
  }
  return config;
}

Result<Observation> observe(kube::Reader& reader, const ObservationScope& scope,
                            std::stop_token stop) {
  const Look look{reader, scope, stop};
  Observation seen;
  seen.config = TRY(observe_config(reader, scope, stop));
  ClusterFacts& facts = seen.facts;
  const auto by_name = [&](const kube::ResourceType& type,
                           std::map<std::string, kube::Object>& into) -> Result<void> {
    for (kube::Object& object : TRY(list_if_allowed(look, type))) {
      const std::string name = object.name();
      into.emplace(name, std::move(object));
    }
    return {};
  };
  auto classes = TRY(list_if_served(look, kube::types::kStorageClass));
  for (kube::Object& object : std::move(classes).value_or(std::vector<kube::Object>{})) {
    const std::string name = object.name();
    facts.storage_classes.emplace(name, std::move(object));
  }
  TRY(by_name(kube::types::kStorageProfile, facts.storage_profiles));
  auto attachments = TRY(list_if_served(look, kube::types::kNetworkAttachmentDefinition));
  for (kube::Object& object : std::move(attachments).value_or(std::vector<kube::Object>{})) {
    const kube::ObjectKey key = object.key();
    facts.network_attachments.emplace(key, std::move(object));
  }
  facts.template_namespaces = template_namespaces(look, seen.config);
  TRY(observe_templates(look, facts));
  if (seen.config.use_preferences) {
    facts.preferences = TRY(list_if_allowed(look, kube::types::kClusterPreference));
    facts.instancetypes = TRY(list_if_allowed(look, kube::types::kClusterInstancetype));
  }
  TRY(observe_overhead(look, facts));
  seen.os_maps = TRY(observe_os_maps(look, seen.config));
  return seen;
}

Result<ObservedMappings> observe_mappings(kube::Reader& reader,
                                          const api::VirtualMachineImport& import,
                                          std::stop_token stop) {
  const ProviderKind provider = provider_kind(import.spec);
  const auto& section = import.spec.ovirt ? import.spec.ovirt : import.spec.vmware;
  ObservedMappings seen;
  std::optional<api::Mappings> external;
  // check_request() tells of an empty name.
  if (const auto& reference = import.spec.resource_mapping; reference && !reference->name.empty()) {
    const kube::ObjectKey key{reference->ns_or(import.object.ns()), reference->name};
    const auto object = TRY(kube::get_if_exists(reader, kube::types::kResourceMapping, key, stop));
    if (object) {
      const auto mapping = api::parse_resource_mapping(*object);
      if (mapping) {
        external = provider == ProviderKind::Ovirt ? mapping->ovirt : mapping->vmware;
        seen.findings = check_resource_mapping(*mapping, provider);
      } else {
        seen.findings = {unreadable_resource_mapping(mapping.error())};
      }
      for (Finding& finding : seen.findings) {
        finding.text = fmt::format("ResourceMapping '{}': {}", key.to_string(), finding.text);
      }
    } else {
      seen.missing = true;
      seen.findings = {rules::finding("request.resource_mapping/missing", key.to_string())};
    }
  }
  seen.merged = merge_mappings(section ? section->mappings : std::nullopt, external);
  return seen;
}

Result<ProviderCredentials> observe_credentials(kube::Reader& reader,
                                                const api::VirtualMachineImport& import,
                                                std::stop_token stop) {
  const api::ObjectIdentifier& id = import.spec.credentials_secret;
  const kube::ObjectKey key{id.ns_or(import.object.ns()), id.name};
  const auto secret = TRY(kube::get_if_exists(reader, kube::types::kSecret, key, stop));
  if (!secret) {
    return coded_error(ErrorKind::NotFound, code::kSecretMissing, "secret '{}' does not exist",
                       key.to_string());
  }
  auto credentials = api::parse_credentials(provider_kind(import.spec), *secret);
  if (credentials) return credentials;
  return std::move(credentials).error().with_context(fmt::format("secret '{}'", key.to_string()));
}

Result<std::optional<Finding>> name_conflict(kube::Reader& reader,
                                             const api::VirtualMachineImport& import,
                                             const std::string& vm_name, std::stop_token stop) {
  const std::string ns = import.object.ns();
  const auto vm =
      TRY(kube::get_if_exists(reader, kube::types::kVirtualMachine, {ns, vm_name}, stop));
  if (vm && !vm->controlled_by(import.object.uid())) {
    return std::optional(rules::finding("request.target_name.taken", ns + "/" + vm_name));
  }
  const auto other = TRY(import_with_name(reader, import, vm_name, stop));
  if (other) {
    return std::optional(rules::finding("request.target_name.taken/import", *other, vm_name));
  }
  return std::optional<Finding>();
}

ProviderKind provider_kind(const api::ImportSpec& spec) {
  return spec.ovirt ? ProviderKind::Ovirt : ProviderKind::Vmware;
}

const api::SourceSection& source_section(const api::ImportSpec& spec) {
  return spec.ovirt ? *spec.ovirt : *spec.vmware;
}

VmRef source_reference(const api::VirtualMachineImport& import, bool vddk) {
  const api::SourceSection& source = source_section(import.spec);
  return {.id = source.vm_id,
          .name = source.vm_name,
          .cluster_id = source.cluster_id,
          .cluster_name = source.cluster_name,
          .vddk = vddk,
          .warm = import.spec.warm,
          .may_cut_power = import.object.annotation(api::kPowerOffAfter).has_value(),
          .ways = disk_ways(import.object)};
}

}  // namespace vmferry::imports
