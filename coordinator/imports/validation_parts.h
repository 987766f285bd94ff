#pragma once

#include <string>
#include <vector>

#include "coordinator/imports/mapping.h"
#include "coordinator/imports/validation.h"

// The parts of check_mappings(), one file each.
namespace vmferry::imports {

std::vector<Finding> check_networks(const SourceVm& vm, const api::Mappings& mappings,
                                    const ClusterFacts& facts, const std::string& import_ns);
std::vector<Finding> check_storage(const SourceVm& vm, const api::Mappings& mappings,
                                   const ClusterFacts& facts);

// NICs that will be in the target: plugged and on a network (DECISION-M4).
std::vector<const SourceNic*> imported_nics(const SourceVm& vm);
// Names that are no "network/profile"; they stop the rest of the network checks.
std::vector<Finding> check_ovirt_selectors(const api::Mappings& mappings);
// NICs that no mapping serves: one finding a vNIC profile, or one for all of the VM's NICs.
std::vector<Finding> unmapped_ovirt(const SourceVm& vm, const api::Mappings& mappings,
                                    const std::string& import_ns);
std::vector<Finding> unmapped_vmware(const SourceVm& vm, const api::Mappings& mappings,
                                     const std::string& import_ns);

// The provider's id of a rule that both have: "network.target", "vmware.network.target".
std::string rule_id(ProviderKind provider, std::string_view rule);
// VMware network problems belong to MappingRulesVerified (DECISION-A3), oVirt's to Valid.
FindingGroup network_group(ProviderKind provider);

// "name (id)", or the one of the two that there is.
std::string named(const std::string& name, const std::string& id);
// Ready YAML for spec.source.<provider>.mappings that maps these NICs: the first to the pod network
// unless another NIC has it, the others to attachments.
std::string network_snippet(ProviderKind provider, const std::vector<const SourceNic*>& nics,
                            bool pod_taken = false);
// The same for these disks: their storage, where they have any in common, else each disk.
std::string storage_snippet(const SourceVm& vm, const std::vector<const SourceDisk*>& disks,
                            const std::string& storage_class);
std::string disk_snippet(const SourceVm& vm, const std::vector<const SourceDisk*>& disks,
                         const std::string& storage_class);
// The text as a YAML scalar, always quoted.
std::string yaml_quoted(std::string_view text);

}  // namespace vmferry::imports
