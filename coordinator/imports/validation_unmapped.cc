#include <algorithm>
#include <set>

#include "coordinator/imports/mapping_fix.h"
#include "coordinator/imports/validation_parts.h"
#include "coordinator/rules/findings.h"

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

}  // namespace

bool is_profile_path(std::string_view name) {
  const std::size_t slash = name.find('/');
  return slash != std::string_view::npos && slash > 0 && slash + 1 < name.size();
}

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

std::vector<Finding> check_ovirt_selectors(const api::Mappings& mappings) {
  std::vector<std::string> wrong;
  for (const api::NetworkMappingItem& item : *mappings.networks) {
    if (item.source.name && !item.source.name->empty() && !is_profile_path(*item.source.name)) {
      wrong.push_back("'" + *item.source.name + "'");
    }
  }
  if (wrong.empty()) return {};
  return {rules::finding("network.mapping/name", fmt::format("{}", fmt::join(wrong, ", ")))};
}

std::vector<Finding> unmapped_ovirt(const SourceVm& vm, const api::Mappings& mappings,
                                    const std::string& import_ns) {
  const std::vector<const SourceNic*> missing = unmapped_nics(vm, mappings, import_ns);
  if (missing.empty()) return {};
  const std::string yaml = to_yaml(vm.provider, fix_unmapped(vm, mappings, missing, import_ns));
  std::vector<std::string> profiles;
  for (const SourceNic* nic : missing) {
    profiles.push_back(named(first(nic->network_names), first(nic->network_ids)));
  }
  if (!mappings.networks) {
    return {
        rules::finding("network.mapping/none", fmt::format("{}", fmt::join(profiles, ", ")), yaml)};
  }
  rules::Findings findings;
  for (std::size_t i = 0; i < missing.size(); ++i) {  // one piece of YAML serves them all
    findings.add("network.mapping", profiles[i], missing[i]->name,
                 i == 0 ? yaml : "see the mappings given for vNIC profile " + profiles[0]);
  }
  return findings.take();
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
  return {rules::finding("vmware.network.mapping", fmt::format("{}", fmt::join(names, ", ")),
                         to_yaml(vm.provider, fix_unmapped(vm, mappings, missing, import_ns)))};
}

}  // namespace vmferry::imports
