#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/imports/mapping.h"
#include "coordinator/imports/validation.h"

// The parts of check_mappings(), one file each.
namespace vmferry::imports {

std::vector<Finding> check_networks(const SourceVm& vm, const api::Mappings& mappings,
                                    const ClusterFacts& facts, const std::string& import_ns,
                                    const ReferenceRights& rights);
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

// What the other namespace's owner may do about a reference to something of his.
std::string how_to_grant(const std::string& author, std::string_view resource,
                         const std::string& ns, const std::string& name);
// "name (id)", or the one of the two that there is.
std::string named(const std::string& name, const std::string& id);
// "network/profile", as oVirt's network mappings name their sources (ADM-8).
bool is_profile_path(std::string_view name);
// The text as a YAML scalar, always quoted.
std::string yaml_quoted(std::string_view text);

}  // namespace vmferry::imports
