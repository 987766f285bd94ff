#include <algorithm>

#include "coordinator/imports/mapping_fix.h"
#include "coordinator/imports/validation_parts.h"
#include "coordinator/kube/bounded_json.h"
#include "coordinator/rules/findings.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

struct Mapped {
  const SourceNic* nic;
  NetworkChoice choice;
};

std::string nic_names(const std::vector<const SourceNic*>& nics) {
  std::vector<std::string> names;
  for (const SourceNic* nic : nics) names.push_back("'" + nic->name + "'");
  return fmt::format("{}", fmt::join(names, ", "));
}

void check_pod_count(const SourceVm& vm, const api::Mappings& mappings,
                     const std::vector<Mapped>& mapped, rules::Findings& findings) {
  std::vector<const SourceNic*> on_pod;
  for (const Mapped& one : mapped) {
    if (one.choice.type.empty() || one.choice.type == "pod") on_pod.push_back(one.nic);
  }
  if (on_pod.size() < 2) return;
  findings.add_of(vm.provider, "network.pod.multiple", "vmware.network.pod", nic_names(on_pod),
                  to_yaml(vm.provider, fix_pod(mappings, on_pod)));
}

std::string known_attachments(const ClusterFacts& facts, const std::string& ns) {
  std::vector<std::string> names;
  for (const auto& [key, attachment] : facts.network_attachments) {
    if (key.ns == ns) names.push_back(key.name);
  }
  if (names.empty()) return fmt::format("namespace '{}' has none", ns);
  return fmt::format("namespace '{}' has: {}", ns, fmt::join(names, ", "));
}

// Each target once, whoever needs it.
void check_targets(const SourceVm& vm, const std::vector<Mapped>& mapped, const ClusterFacts& facts,
                   const std::string& import_ns, const ReferenceRights& rights,
                   rules::Findings& findings) {
  std::vector<NetworkChoice> seen;
  for (const auto& [nic, choice] : mapped) {
    // Two NICs may need one attachment, one of them by its full name.
    NetworkChoice target = choice;
    target.network_name.clear();
    if (std::ranges::find(seen, target) != seen.end()) continue;
    seen.push_back(target);
    if (choice.type.empty()) {
      if (!choice.target_ns || choice.target_ns->empty()) continue;
      findings.add_of(vm.provider, "network.type/namespace", "vmware.network.type/namespace",
                      nic->name, *choice.target_ns);
    } else if (choice.multus && rights.denied_networks.contains(choice.attachment)) {
      // Whether it exists is not for them to know.
      findings.add_of(vm.provider, "network.target.namespace", "vmware.network.target.namespace",
                      choice.attachment.to_string(), nic->name, import_ns,
                      how_to_grant(rights.author, "network-attachment-definitions.k8s.cni.cncf.io",
                                   choice.attachment.ns, choice.attachment.name));
    } else if (choice.multus) {
      if (facts.network_attachments.contains(choice.attachment)) continue;
      findings.add_of(vm.provider, "network.target", "vmware.network.target",
                      choice.attachment.to_string(), nic->name,
                      known_attachments(facts, choice.attachment.ns));
    } else if (choice.type != "pod") {
      findings.add_of(vm.provider, "network.type", "vmware.network.type", nic->name, choice.type);
    }
  }
}

bool is_sriov_config(const json& config) {
  if (config.value("type", json()) == "sriov") return true;
  const json plugins = config.value("plugins", json());
  if (!plugins.is_array()) return false;
  return std::ranges::any_of(plugins, [](const json& plugin) {
    return plugin.is_object() && plugin.value("type", json()) == "sriov";
  });
}

void check_sriov(const SourceVm& vm, const Mapped& mapped, const ClusterFacts& facts,
                 rules::Findings& findings) {
  const std::string& nic = mapped.nic->name;
  if (!mapped.choice.multus) {
    // Unknown types have their finding already.
    if (!mapped.choice.type.empty() && mapped.choice.type != "pod") return;
    findings.add_of(vm.provider, "network.type/sriov-pod", "vmware.network.type/sriov-pod", nic);
    return;
  }
  const auto found = facts.network_attachments.find(mapped.choice.attachment);
  if (found == facts.network_attachments.end()) return;  // network.target says so
  const json spec = found->second.json().value("spec", json::object());
  const json text = spec.is_object() ? spec.value("config", json()) : json();
  const json config =
      text.is_string() ? kube::parse_bounded_json(text.get_ref<const std::string&>()) : json();
  const std::string attachment = mapped.choice.attachment.to_string();
  if (!config.is_object()) {
    findings.add_of(vm.provider, "network.config", "vmware.network.config", attachment, nic);
  } else if (!is_sriov_config(config)) {
    findings.add_of(vm.provider, "network.type/sriov", "vmware.network.type/sriov", attachment,
                    nic);
  }
}

}  // namespace

std::vector<const SourceNic*> imported_nics(const SourceVm& vm) {
  std::vector<const SourceNic*> nics;
  for (const SourceNic& nic : vm.nics) {
    if (nic.plugged && nic.has_network) nics.push_back(&nic);
  }
  return nics;
}

std::vector<Finding> check_networks(const SourceVm& vm, const api::Mappings& mappings,
                                    const ClusterFacts& facts, const std::string& import_ns,
                                    const ReferenceRights& rights) {
  const bool ovirt = vm.provider == ProviderKind::Ovirt;
  std::vector<Finding> findings;
  if (ovirt && mappings.networks) {
    findings = check_ovirt_selectors(mappings);
    if (!findings.empty()) return findings;  // lookups by half a name would only repeat it
  }
  std::ranges::move(
      ovirt ? unmapped_ovirt(vm, mappings, import_ns) : unmapped_vmware(vm, mappings, import_ns),
      std::back_inserter(findings));

  std::vector<Mapped> mapped;
  for (const SourceNic* nic : imported_nics(vm)) {
    if (const auto choice = resolve_network(mappings, *nic, import_ns)) {
      mapped.push_back({nic, *choice});
    }
  }
  rules::Findings more;
  check_pod_count(vm, mappings, mapped, more);
  check_targets(vm, mapped, facts, import_ns, rights, more);
  for (const Mapped& one : mapped) {
    const bool denied = one.choice.multus && rights.denied_networks.contains(one.choice.attachment);
    if (one.nic->sriov && !denied) check_sriov(vm, one, facts, more);
  }
  std::ranges::move(more.take(), std::back_inserter(findings));
  return findings;
}

}  // namespace vmferry::imports
