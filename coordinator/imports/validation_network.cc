#include <algorithm>

#include "coordinator/imports/validation_parts.h"
#include "coordinator/kube/bounded_json.h"

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

void check_pod_count(const SourceVm& vm, const std::vector<Mapped>& mapped,
                     std::vector<Finding>& findings) {
  std::vector<const SourceNic*> on_pod;
  for (const Mapped& one : mapped) {
    if (one.choice.type.empty() || one.choice.type == "pod") on_pod.push_back(one.nic);
  }
  if (on_pod.size() < 2) return;
  findings.push_back(
      {vm.provider == ProviderKind::Vmware ? "vmware.network.pod" : "network.pod.multiple",
       FindingLevel::Block, network_group(vm.provider),
       fmt::format("NICs {} are all mapped to the pod network, which takes one", nic_names(on_pod)),
       "map all but one of them to a NetworkAttachmentDefinition: " +
           network_snippet(vm.provider, {on_pod.begin() + 1, on_pod.end()}, /*pod_taken=*/true)});
}

std::string known_attachments(const ClusterFacts& facts, const std::string& ns) {
  std::vector<std::string> names;
  for (const auto& [key, attachment] : facts.network_attachments) {
    if (key.ns == ns) names.push_back(key.name);
  }
  if (names.empty()) return fmt::format("; namespace '{}' has none", ns);
  return fmt::format("; namespace '{}' has: {}", ns, fmt::join(names, ", "));
}

// Each target once, whoever needs it.
void check_targets(const SourceVm& vm, const std::vector<Mapped>& mapped, const ClusterFacts& facts,
                   std::vector<Finding>& findings) {
  std::vector<NetworkChoice> seen;
  const auto report = [&](std::string_view rule, std::string text, std::string remedy) {
    findings.push_back({rule_id(vm.provider, rule), FindingLevel::Block, network_group(vm.provider),
                        std::move(text), std::move(remedy)});
  };
  for (const auto& [nic, choice] : mapped) {
    // Two NICs may need one attachment, one of them by its full name.
    NetworkChoice target = choice;
    target.network_name.clear();
    if (std::ranges::find(seen, target) != seen.end()) continue;
    seen.push_back(target);
    if (choice.type.empty()) {
      if (!choice.target_ns || choice.target_ns->empty()) continue;
      report("network.type",
             fmt::format("the mapping of NIC '{}' has no type but the target namespace '{}'",
                         nic->name, *choice.target_ns),
             "remove target.namespace for the pod network, or set type: multus");
    } else if (choice.multus) {
      if (facts.network_attachments.contains(choice.attachment)) continue;
      report("network.target",
             fmt::format("NetworkAttachmentDefinition '{}' for NIC '{}' does not exist",
                         choice.attachment.to_string(), nic->name),
             "create it, or correct target.name and target.namespace of the mapping" +
                 known_attachments(facts, choice.attachment.ns));
    } else if (choice.type != "pod") {
      report(
          "network.type",
          fmt::format("the mapping of NIC '{}' has the unknown type '{}'", nic->name, choice.type),
          "use type: pod or type: multus");
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
                 std::vector<Finding>& findings) {
  const auto report = [&](std::string_view rule, std::string text, std::string remedy) {
    findings.push_back({rule_id(vm.provider, rule), FindingLevel::Block, network_group(vm.provider),
                        std::move(text), std::move(remedy)});
  };
  const std::string& nic = mapped.nic->name;
  if (!mapped.choice.multus) {
    // Unknown types have their finding already.
    if (!mapped.choice.type.empty() && mapped.choice.type != "pod") return;
    report("network.type",
           fmt::format("NIC '{}' uses SR-IOV pass-through and is mapped to the pod network", nic),
           "map it to a NetworkAttachmentDefinition of type sriov (type: multus)");
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
    report("network.config",
           fmt::format("spec.config of NetworkAttachmentDefinition '{}' for the SR-IOV NIC '{}' is "
                       "no JSON object",
                       attachment, nic),
           "give it a CNI configuration of type sriov");
  } else if (!is_sriov_config(config)) {
    report("network.type",
           fmt::format("NetworkAttachmentDefinition '{}' for the SR-IOV NIC '{}' is not of type "
                       "sriov",
                       attachment, nic),
           "map the NIC to an attachment whose CNI configuration has type sriov");
  }
}

}  // namespace

std::string rule_id(ProviderKind provider, std::string_view rule) {
  return provider == ProviderKind::Vmware ? fmt::format("vmware.{}", rule) : std::string(rule);
}

FindingGroup network_group(ProviderKind provider) {
  return provider == ProviderKind::Vmware ? FindingGroup::Rules : FindingGroup::Mapping;
}

std::vector<const SourceNic*> imported_nics(const SourceVm& vm) {
  std::vector<const SourceNic*> nics;
  for (const SourceNic& nic : vm.nics) {
    if (nic.plugged && nic.has_network) nics.push_back(&nic);
  }
  return nics;
}

std::vector<Finding> check_networks(const SourceVm& vm, const api::Mappings& mappings,
                                    const ClusterFacts& facts, const std::string& import_ns) {
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
  check_pod_count(vm, mapped, findings);
  check_targets(vm, mapped, facts, findings);
  for (const Mapped& one : mapped) {
    if (one.nic->sriov) check_sriov(vm, one, facts, findings);
  }
  return findings;
}

}  // namespace vmferry::imports
