#include <algorithm>
#include <set>

#include "coordinator/imports/validation_parts.h"

// NICs without a target: what is missing, and the mapping that a user could paste.
namespace vmferry::imports {

namespace {

std::string first(const std::vector<std::string>& values) {
  return values.empty() ? std::string() : values.front();
}

// NICs that no item matches, one for each source network.
std::vector<const SourceNic*> unmapped_nics(const SourceVm& vm, const api::Mappings& mappings,
                                            const std::string& import_ns) {
  std::vector<const SourceNic*> nics;
  std::set<std::pair<std::vector<std::string>, std::vector<std::string>>> seen;
  for (const SourceNic* nic : imported_nics(vm)) {
    if (resolve_network(mappings, *nic, import_ns)) continue;
    if (seen.insert({nic->network_ids, nic->network_names}).second) nics.push_back(nic);
  }
  return nics;
}

// Whether a NIC is on the pod network, which takes one.
bool is_pod_taken(const SourceVm& vm, const api::Mappings& mappings, const std::string& import_ns) {
  return std::ranges::any_of(imported_nics(vm), [&](const SourceNic* nic) {
    const auto choice = resolve_network(mappings, *nic, import_ns);
    return choice && (choice->type.empty() || choice->type == "pod");
  });
}

bool is_profile_path(std::string_view name) {
  const std::size_t slash = name.find('/');
  return slash != std::string_view::npos && slash > 0 && slash + 1 < name.size();
}

}  // namespace

std::string named(const std::string& name, const std::string& id) {
  if (name.empty()) return "'" + id + "'";
  return id.empty() ? "'" + name + "'" : fmt::format("'{}' ({})", name, id);
}

std::string yaml_quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += fmt::format("\\x{:02x}", byte);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string network_snippet(ProviderKind provider, const std::vector<const SourceNic*>& nics,
                            bool pod_taken) {
  std::string items;
  for (const SourceNic* nic : nics) {
    const bool by_name = !nic->network_names.empty();
    items +=
        fmt::format("\n- source: {{{}: {}}}", by_name ? "name" : "id",
                    yaml_quoted(by_name ? first(nic->network_names) : first(nic->network_ids)));
    if (pod_taken || nic->sriov) {
      items += "\n  target: {name: \"NETWORK-ATTACHMENT\"}\n  type: multus";
    } else {
      items += "\n  target: {name: pod}\n  type: pod";
      pod_taken = true;
    }
  }
  return fmt::format("add to spec.source.{}.mappings:\nnetworkMappings:{}", to_string(provider),
                     items);
}

std::vector<Finding> check_ovirt_selectors(const api::Mappings& mappings) {
  std::vector<std::string> wrong;
  for (const api::NetworkMappingItem& item : *mappings.networks) {
    if (item.source.name && !item.source.name->empty() && !is_profile_path(*item.source.name)) {
      wrong.push_back("'" + *item.source.name + "'");
    }
  }
  if (wrong.empty()) return {};
  return {{"network.mapping", FindingLevel::Block, FindingGroup::Mapping,
           fmt::format("network mappings name {}, which is not a network and its vNIC profile",
                       fmt::join(wrong, ", ")),
           "write source.name as \"network/profile\""}};
}

std::vector<Finding> unmapped_ovirt(const SourceVm& vm, const api::Mappings& mappings,
                                    const std::string& import_ns) {
  const std::vector<const SourceNic*> missing = unmapped_nics(vm, mappings, import_ns);
  std::vector<Finding> findings;
  if (!mappings.networks) {
    if (missing.empty()) return findings;
    std::vector<std::string> names;
    for (const SourceNic* nic : missing) {
      names.push_back(named(first(nic->network_names), first(nic->network_ids)));
    }
    findings.push_back(
        {"network.mapping", FindingLevel::Block, FindingGroup::Mapping,
         fmt::format("there are no network mappings, and {} need a target", fmt::join(names, ", ")),
         network_snippet(vm.provider, missing)});
    return findings;
  }
  bool pod_taken = is_pod_taken(vm, mappings, import_ns);
  for (const SourceNic* nic : missing) {
    findings.push_back(
        {"network.mapping", FindingLevel::Block, FindingGroup::Mapping,
         fmt::format("no network mapping for vNIC profile {} of NIC '{}'",
                     named(first(nic->network_names), first(nic->network_ids)), nic->name),
         network_snippet(vm.provider, {nic}, pod_taken)});
    pod_taken = pod_taken || !nic->sriov;
  }
  return findings;
}

std::vector<Finding> unmapped_vmware(const SourceVm& vm, const api::Mappings& mappings,
                                     const std::string& import_ns) {
  const std::vector<const SourceNic*> missing = unmapped_nics(vm, mappings, import_ns);
  if (missing.empty()) return {};
  std::vector<std::string> names;
  for (const SourceNic* nic : missing) {
    const std::string network = first(nic->network_names);
    names.push_back(
        network.empty() || network == nic->name
            ? named(nic->name, first(nic->network_ids))
            : fmt::format("'{}' on {}", nic->name, named(network, first(nic->network_ids))));
  }
  return {{"vmware.network.mapping", FindingLevel::Block, FindingGroup::Rules,
           fmt::format("no network mapping for NIC {}", fmt::join(names, ", ")),
           network_snippet(vm.provider, missing, is_pod_taken(vm, mappings, import_ns))}};
}

}  // namespace vmferry::imports
