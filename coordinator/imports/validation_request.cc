#include <algorithm>
#include <set>

#include "coordinator/imports/names.h"
#include "coordinator/imports/validation_parts.h"
#include "coordinator/kube/bounded_json.h"
#include "coordinator/rules/findings.h"

// The admission rules of validation.md 8 that need no cluster.
namespace vmferry::imports {

namespace {

using nlohmann::json;
using rules::Findings;

bool given(const std::optional<std::string>& text) { return text && !text->empty(); }

std::string place(std::string_view list, std::size_t index) {
  return fmt::format("{}[{}]", list, index);
}

// ADM-6: an empty selector would match every source that lacks the field.
void check_selector(const api::Selector& source, const std::string& where, Findings& findings) {
  const bool empty = (source.id && source.id->empty()) || (source.name && source.name->empty());
  if (!empty && (source.id || source.name)) return;
  findings.add("request.mapping.selector", where, empty ? "an empty" : "no");
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
void check_repeated(const std::vector<Item>& items, std::string_view list,
                    rules::RuleName<std::string_view, std::string> rule, Findings& findings) {
  for (const std::string& source : repeated_sources(items)) {
    findings.add<std::string_view, std::string>(rule, list, source);
  }
}

// ADM-6 to ADM-10.
void check_network_items(const std::vector<api::NetworkMappingItem>& items, ProviderKind provider,
                         Findings& findings) {
  constexpr std::string_view kList = "networkMappings";
  for (std::size_t i = 0; i < items.size(); ++i) {
    const api::NetworkMappingItem& item = items[i];
    const std::string where = place(kList, i);
    check_selector(item.source, where, findings);
    if (provider == ProviderKind::Ovirt && given(item.source.name) &&
        !is_profile_path(*item.source.name)) {
      findings.add("request.mapping.network_name", where, *item.source.name);
    }
    const std::string type = item.type.value_or("");
    if (type == "multus") {
      if (item.target.name.empty()) findings.add("request.mapping.target", where);
    } else if (item.type && type != "pod") {
      findings.add("request.mapping.type", where, type);
    } else if (given(item.target.ns)) {
      findings.add("request.mapping.target/pod", where, *item.target.ns);
    }
  }
  if (provider == ProviderKind::Ovirt) {
    check_repeated(items, kList, "network.source.duplicate", findings);
  } else {
    check_repeated(items, kList, "vmware.network.source.duplicate", findings);
  }
}

bool one_of(const std::string& value, std::initializer_list<std::string_view> allowed) {
  return std::ranges::find(allowed, std::string_view(value)) != allowed.end();
}

// ADM-6, 7, 11, 12, 14.
void check_storage_items(const std::vector<api::StorageMappingItem>& items, std::string_view list,
                         Findings& findings) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    const api::StorageMappingItem& item = items[i];
    const std::string where = place(list, i);
    check_selector(item.source, where, findings);
    if (!item.target.name.empty() && !is_dns1123_subdomain(item.target.name)) {
      findings.add("request.mapping.target/class", where, item.target.name);
    }
    if (given(item.target.ns)) {
      findings.add("request.mapping.target_namespace", where, *item.target.ns);
    }
    if (item.volume_mode && !one_of(*item.volume_mode, {"Filesystem", "Block"})) {
      findings.add("request.mapping.volume_mode", where, *item.volume_mode);
    }
    if (item.type) findings.add("request.mapping.ignored_type", where);
    if (item.access_mode && !one_of(*item.access_mode, {"ReadWriteOnce", "ReadWriteMany",
                                                        "ReadOnlyMany", "ReadWriteOncePod"})) {
      findings.add("request.mapping.access_mode", where, *item.access_mode);
    }
  }
  check_repeated(items, list, "request.mapping.duplicate", findings);
}

void check_items(const api::Mappings& mappings, ProviderKind provider, Findings& findings) {
  if (mappings.networks) check_network_items(*mappings.networks, provider, findings);
  if (mappings.storage) check_storage_items(*mappings.storage, "storageMappings", findings);
  if (mappings.disks) check_storage_items(*mappings.disks, "diskMappings", findings);
}

// ADM-2 and the mappings of a section.
void check_section(const api::SourceSection& section, ProviderKind provider, Findings& findings) {
  if (section.vm_id.empty() && section.vm_name.empty()) {
    findings.add("request.vm", to_string(provider));
  } else if (provider == ProviderKind::Ovirt && section.vm_id.empty() &&
             section.cluster_id.empty() && section.cluster_name.empty()) {
    findings.add("request.vm.cluster", section.vm_name);
  }
  if (section.mappings) check_items(*section.mappings, provider, findings);
}

// ADM-3, ADM-4.
void check_names(const api::VirtualMachineImport& import, const ReferenceRights& rights,
                 Findings& findings) {
  const api::ImportSpec& spec = import.spec;
  if (spec.target_vm_name && !is_dns1123_label(*spec.target_vm_name)) {
    findings.add("request.target_name", *spec.target_vm_name);
  }
  const api::ObjectIdentifier& secret = spec.credentials_secret;
  if (secret.name.empty()) {
    findings.add("request.secret");
  } else if (given(secret.ns) && *secret.ns != import.object.ns()) {
    // Else whoever may create an import could use every secret of the cluster.
    const std::string key = *secret.ns + "/" + secret.name;
    if (rights.secret == Right::Unknown) {
      findings.add("request.secret.namespace", key, import.object.ns());
    } else if (rights.secret == Right::Denied) {
      findings.add("request.secret.namespace/denied", key, import.object.ns(),
                   how_to_grant(rights.author, "secrets", *secret.ns, secret.name));
    }
  }
}

// ADM-15; a VMware source could, and we do not yet: a warm import must not be a cold one silently.
void check_warm(const api::ImportSpec& spec, Findings& findings) {
  if (spec.warm && spec.ovirt) {
    findings.add("request.warm/ovirt");
  } else if (spec.warm) {
    findings.add("request.warm");
  }
  if (spec.finalize_date && !spec.warm) findings.add("request.finalize_date");
}

// ADM-5: else who may create imports here could read mappings elsewhere. Without a cluster there is
// nobody to keep them from.
void check_resource_mapping_reference(const api::VirtualMachineImport& import,
                                      const ReferenceRights& rights, Findings& findings) {
  const auto& reference = import.spec.resource_mapping;
  if (!reference) return;
  if (reference->name.empty()) {
    findings.add("request.resource_mapping");
  } else if (given(reference->ns) && *reference->ns != import.object.ns()) {
    const std::string key = *reference->ns + "/" + reference->name;
    if (rights.mapping == Right::Denied) {
      findings.add("request.resource_mapping.namespace/denied", key, import.object.ns(),
                   how_to_grant(rights.author, "resourcemappings.v2v.kubevirt.io", *reference->ns,
                                reference->name));
    } else {
      findings.add("request.resource_mapping.namespace", key);
    }
  }
}

// ADM-18.
void check_annotations(const kube::Object& import, Findings& findings) {
  const std::optional<std::string> text = import.annotation(api::kPropagateAnnotations);
  if (!text) return;
  const json wanted = kube::parse_bounded_json(*text);
  if (wanted.is_object() &&
      std::ranges::all_of(wanted, [](const json& value) { return value.is_string(); })) {
    return;
  }
  findings.add("request.propagate_annotations", api::kPropagateAnnotations);
}

}  // namespace

std::vector<Finding> check_request(const api::VirtualMachineImport& import,
                                   const ReferenceRights& rights) {
  Findings findings;
  const api::ImportSpec& spec = import.spec;
  if (spec.ovirt.has_value() == spec.vmware.has_value()) {
    findings.add("request.source",
                 spec.ovirt ? "both ovirt and vmware" : "neither ovirt nor vmware");
  }
  if (spec.ovirt) check_section(*spec.ovirt, ProviderKind::Ovirt, findings);
  if (spec.vmware) check_section(*spec.vmware, ProviderKind::Vmware, findings);
  check_names(import, rights, findings);
  check_resource_mapping_reference(import, rights, findings);
  check_warm(spec, findings);
  check_annotations(import.object, findings);
  return findings.take();
}

Finding unreadable_resource_mapping(const Error& error) {
  return rules::finding("request.resource_mapping/unreadable", error.message());
}

std::vector<Finding> check_resource_mapping(const api::ResourceMapping& mapping,
                                            ProviderKind provider) {
  Findings findings;
  if (!mapping.ovirt && !mapping.vmware) {
    findings.add("request.resource_mapping.empty");
  }
  const auto& section = provider == ProviderKind::Ovirt ? mapping.ovirt : mapping.vmware;
  if (!section) return findings.take();
  check_items(*section, provider, findings);
  if (section->disks) {
    findings.add("request.resource_mapping.disks");
  }
  return findings.take();
}

}  // namespace vmferry::imports
