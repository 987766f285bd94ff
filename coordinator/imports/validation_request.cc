#include <algorithm>
#include <set>

#include "coordinator/imports/names.h"
#include "coordinator/imports/validation_parts.h"
#include "coordinator/kube/bounded_json.h"

// The admission rules of validation.md 8 that need no cluster.
namespace vmferry::imports {

namespace {

using nlohmann::json;

class Report {
 public:
  void block(std::string_view rule, std::string text, std::string remedy,
             FindingGroup group = FindingGroup::Mapping) {
    add(rule, FindingLevel::Block, std::move(text), std::move(remedy), group);
  }
  void warn(std::string_view rule, std::string text, std::string remedy) {
    add(rule, FindingLevel::Warn, std::move(text), std::move(remedy));
  }
  void log(std::string_view rule, std::string text) {
    add(rule, FindingLevel::Log, std::move(text), "");
  }
  std::vector<Finding> take() { return std::move(findings_); }

 private:
  void add(std::string_view rule, FindingLevel level, std::string text, std::string remedy,
           FindingGroup group = FindingGroup::Mapping) {
    findings_.push_back({std::string(rule), level, group, std::move(text), std::move(remedy)});
  }
  std::vector<Finding> findings_;
};

bool given(const std::optional<std::string>& text) { return text && !text->empty(); }

std::string place(std::string_view list, std::size_t index) {
  return fmt::format("{}[{}]", list, index);
}

// ADM-6: an empty selector would match every source that lacks the field.
void check_selector(const api::Selector& source, const std::string& where, Report& report) {
  const bool empty = (source.id && source.id->empty()) || (source.name && source.name->empty());
  if (!empty && (source.id || source.name)) return;
  report.block("request.mapping.selector",
               fmt::format("{} has {} source", where, empty ? "an empty" : "no"),
               "give source.id or source.name of what is mapped");
}

// "id 'x'" or "name 'x'" of what a list maps twice: equal ids, or equal names unless different ids
// tell the two apart (two port groups of one name). An item repeated whole is one mistake.
template <typename Item>
std::set<std::string> repeated_sources(const std::vector<Item>& items) {
  std::set<std::string> repeated;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const api::Selector& b = items[i].source;
    for (std::size_t j = 0; j < i; ++j) {
      const api::Selector& a = items[j].source;
      const bool both_ids = given(a.id) && given(b.id);
      if (both_ids && *a.id == *b.id) {
        repeated.insert(fmt::format("id '{}'", *a.id));
      } else if (!both_ids && given(a.name) && given(b.name) && *a.name == *b.name) {
        repeated.insert(fmt::format("name '{}'", *a.name));
      }
    }
  }
  return repeated;
}

// ADM-7, and step 2 of validation.md 4. One list at a time: what two lists have in common is no
// mistake, the import's item wins (mapping-ovirt.md 7).
template <typename Item>
void check_repeated(const std::vector<Item>& items, std::string_view list, const std::string& rule,
                    FindingGroup group, Report& report) {
  for (const std::string& source : repeated_sources(items)) {
    report.block(rule, fmt::format("{} has the source {} twice", list, source),
                 "keep one item for it", group);
  }
}

// ADM-6 to ADM-10.
void check_network_items(const std::vector<api::NetworkMappingItem>& items, ProviderKind provider,
                         Report& report) {
  constexpr std::string_view kList = "networkMappings";
  for (std::size_t i = 0; i < items.size(); ++i) {
    const api::NetworkMappingItem& item = items[i];
    const std::string where = place(kList, i);
    check_selector(item.source, where, report);
    if (provider == ProviderKind::Ovirt && given(item.source.name)) {
      const std::size_t slash = item.source.name->find('/');
      if (slash == std::string::npos || slash == 0 || slash + 1 == item.source.name->size()) {
        report.block("request.mapping.network_name",
                     fmt::format("{} has the source name '{}'", where, *item.source.name),
                     "write it as \"network/profile\"");
      }
    }
    const std::string type = item.type.value_or("");
    if (type == "multus") {
      if (item.target.name.empty()) {
        report.block("request.mapping.target", fmt::format("{} has no target name", where),
                     "give target.name of a NetworkAttachmentDefinition");
      }
    } else if (item.type && type != "pod") {
      report.block("request.mapping.type", fmt::format("{} has the unknown type '{}'", where, type),
                   "use type: pod or type: multus");
    } else if (given(item.target.ns)) {
      report.block("request.mapping.target",
                   fmt::format("{} maps to the pod network and has the target namespace '{}'",
                               where, *item.target.ns),
                   "remove target.namespace, or set type: multus");
    }
  }
  check_repeated(items, kList, rule_id(provider, "network.source.duplicate"),
                 network_group(provider), report);
}

bool one_of(const std::string& value, std::initializer_list<std::string_view> allowed) {
  return std::ranges::find(allowed, std::string_view(value)) != allowed.end();
}

// ADM-6, 7, 11, 12, 14.
void check_storage_items(const std::vector<api::StorageMappingItem>& items, std::string_view list,
                         Report& report) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    const api::StorageMappingItem& item = items[i];
    const std::string where = place(list, i);
    check_selector(item.source, where, report);
    if (!item.target.name.empty() && !is_dns1123_subdomain(item.target.name)) {
      report.block("request.mapping.target",
                   fmt::format("{} has the target '{}', which names no storage class", where,
                               item.target.name),
                   "give target.name of a StorageClass, or \"\" for the default one");
    }
    if (given(item.target.ns)) {
      report.warn("request.mapping.target_namespace",
                  fmt::format("{} has the target namespace '{}', which storage classes do not have",
                              where, *item.target.ns),
                  "remove target.namespace");
    }
    if (item.volume_mode && !one_of(*item.volume_mode, {"Filesystem", "Block"})) {
      report.block("request.mapping.volume_mode",
                   fmt::format("{} has the unknown volumeMode '{}'", where, *item.volume_mode),
                   "use Filesystem or Block");
    }
    if (item.type) {
      report.warn("request.mapping.ignored_type",
                  fmt::format("{} has a type, which is ignored", where), "remove it");
    }
    if (item.access_mode && !one_of(*item.access_mode, {"ReadWriteOnce", "ReadWriteMany",
                                                        "ReadOnlyMany", "ReadWriteOncePod"})) {
      report.block("request.mapping.access_mode",
                   fmt::format("{} has the unknown accessMode '{}'", where, *item.access_mode),
                   "use ReadWriteOnce, ReadWriteMany, ReadOnlyMany or ReadWriteOncePod");
    }
  }
  check_repeated(items, list, "request.mapping.duplicate", FindingGroup::Mapping, report);
}

void check_items(const api::Mappings& mappings, ProviderKind provider, Report& report) {
  if (mappings.networks) check_network_items(*mappings.networks, provider, report);
  if (mappings.storage) check_storage_items(*mappings.storage, "storageMappings", report);
  if (mappings.disks) check_storage_items(*mappings.disks, "diskMappings", report);
}

// ADM-2 and the mappings of a section.
void check_section(const api::SourceSection& section, ProviderKind provider, Report& report) {
  if (section.vm_id.empty() && section.vm_name.empty()) {
    report.block("request.vm",
                 fmt::format("spec.source.{}.vm has no id or name", to_string(provider)),
                 provider == ProviderKind::Ovirt ? "give vm.id, or vm.name and vm.cluster"
                                                 : "give vm.id (BIOS UUID) or vm.name");
  } else if (provider == ProviderKind::Ovirt && section.vm_id.empty() &&
             section.cluster_id.empty() && section.cluster_name.empty()) {
    report.warn("request.vm.cluster",
                fmt::format("VM '{}' is named without its cluster, which works while the name is "
                            "unique",
                            section.vm_name),
                "give vm.cluster.name or vm.id");
  }
  if (section.mappings) check_items(*section.mappings, provider, report);
}

// What to do about a reference that the namespace's authors have no right to.
std::string grant(const std::string& author, const char* resource, const std::string& ns,
                  const std::string& name) {
  return fmt::format(
      "or let {} read it: kubectl -n {} create role import-{} --verb=get --resource={} "
      "--resource-name={}, and a role binding of it to that account",
      author, ns, name, resource, name);
}

// ADM-3, ADM-4.
void check_names(const api::VirtualMachineImport& import, const ReferenceRights& rights,
                 Report& report) {
  const api::ImportSpec& spec = import.spec;
  if (spec.target_vm_name && !is_dns1123_label(*spec.target_vm_name)) {
    report.block(
        "request.target_name",
        fmt::format("spec.targetVmName '{}' is not a DNS-1123 label", *spec.target_vm_name),
        "use 1 to 63 lower-case letters, digits or '-', starting and ending with a letter "
        "or digit");
  }
  const api::ObjectIdentifier& secret = spec.credentials_secret;
  if (secret.name.empty()) {
    report.block("request.secret", "spec.providerCredentialsSecret.name is empty",
                 "name the Secret that holds the source's credentials");
  } else if (given(secret.ns) && *secret.ns != import.object.ns() &&
             rights.secret != Right::Granted) {
    // Else whoever may create an import could use every secret of the cluster.
    const bool denied = rights.secret == Right::Denied;
    const std::string move = fmt::format("create the secret in namespace '{}'", import.object.ns());
    report.block(
        "request.secret.namespace",
        fmt::format("secret '{}/{}' is in another namespace than the import{}", *secret.ns,
                    secret.name, denied ? ", whose authors may not read it" : ""),
        denied ? move + ", " + grant(rights.author, "secrets", *secret.ns, secret.name) : move);
  }
}

// ADM-15; a VMware source could, and we do not yet: a warm import must not be a cold one silently.
void check_warm(const api::ImportSpec& spec, Report& report) {
  if (spec.warm && spec.ovirt) {
    report.block("request.warm",
                 "spec.warm is set for an oVirt source, which cannot be copied warm",
                 "remove spec.warm");
  } else if (spec.warm) {
    report.block("request.warm", "warm imports are not done yet", "remove spec.warm");
  }
  if (spec.finalize_date && !spec.warm) {
    report.block("request.finalize_date", "spec.finalizeDate is set without spec.warm",
                 "remove it, or set warm: true");
  }
}

// ADM-5: else who may create imports here could read mappings elsewhere. Without a cluster there is
// nobody to keep them from.
void check_resource_mapping_reference(const api::VirtualMachineImport& import,
                                      const ReferenceRights& rights, Report& report) {
  const auto& reference = import.spec.resource_mapping;
  if (!reference) return;
  if (reference->name.empty()) {
    report.block("request.resource_mapping", "spec.resourceMapping.name is empty",
                 "name a ResourceMapping, or remove spec.resourceMapping");
  } else if (!given(reference->ns) || *reference->ns == import.object.ns()) {
    return;
  } else if (rights.mapping == Right::Denied) {
    report.block("request.resource_mapping.namespace",
                 fmt::format("ResourceMapping '{}/{}' is in another namespace than the import, "
                             "whose authors may not read it",
                             *reference->ns, reference->name),
                 fmt::format("copy it to namespace '{}', ", import.object.ns()) +
                     grant(rights.author, "resourcemappings.v2v.kubevirt.io", *reference->ns,
                           reference->name));
  } else {
    report.log("request.resource_mapping.namespace",
               fmt::format("ResourceMapping '{}/{}' is in another namespace than the import",
                           *reference->ns, reference->name));
  }
}

// ADM-18.
void check_annotations(const kube::Object& import, Report& report) {
  const std::optional<std::string> text = import.annotation(api::kPropagateAnnotations);
  if (!text) return;
  const json wanted = kube::parse_bounded_json(*text);
  if (wanted.is_object() &&
      std::ranges::all_of(wanted, [](const json& value) { return value.is_string(); })) {
    return;
  }
  report.warn(
      "request.propagate_annotations",
      fmt::format("annotation {} is no JSON object of strings; what is no string is left out",
                  api::kPropagateAnnotations),
      "write it as {\"key\": \"value\"}");
}

}  // namespace

std::vector<Finding> check_request(const api::VirtualMachineImport& import,
                                   const ReferenceRights& rights) {
  Report report;
  const api::ImportSpec& spec = import.spec;
  if (spec.ovirt.has_value() == spec.vmware.has_value()) {
    report.block("request.source",
                 spec.ovirt ? "spec.source has both ovirt and vmware"
                            : "spec.source has neither ovirt nor vmware",
                 "keep exactly one of spec.source.ovirt and spec.source.vmware");
  }
  if (spec.ovirt) check_section(*spec.ovirt, ProviderKind::Ovirt, report);
  if (spec.vmware) check_section(*spec.vmware, ProviderKind::Vmware, report);
  check_names(import, rights, report);
  check_resource_mapping_reference(import, rights, report);
  check_warm(spec, report);
  check_annotations(import.object, report);
  return report.take();
}

Finding unreadable_resource_mapping(const Error& error) {
  return {"request.resource_mapping", FindingLevel::Block, FindingGroup::Mapping, error.message(),
          "correct the field it names"};
}

std::vector<Finding> check_resource_mapping(const api::ResourceMapping& mapping,
                                            ProviderKind provider) {
  Report report;
  if (!mapping.ovirt && !mapping.vmware) {
    report.warn("request.resource_mapping.empty", "the ResourceMapping has no section for a source",
                "fill spec.ovirt or spec.vmware");
  }
  const auto& section = provider == ProviderKind::Ovirt ? mapping.ovirt : mapping.vmware;
  if (!section) return report.take();
  check_items(*section, provider, report);
  if (section->disks) {
    report.warn("request.resource_mapping.disks", "diskMappings of a ResourceMapping are ignored",
                "move them to the import's own mappings");
  }
  return report.take();
}

}  // namespace vmferry::imports
