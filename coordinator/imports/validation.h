#pragma once

#include <set>
#include <string>
#include <vector>

#include "coordinator/api/config.h"
#include "coordinator/api/import.h"
#include "coordinator/imports/cluster_facts.h"
#include "coordinator/provider/source_vm.h"

// Checks of an import, all pure (validation.md). Every finding is reported at once.
namespace vmferry::imports {

// Whether what an import names in another namespace may be read by whoever stands for its authors.
// Unknown: there is nobody to ask (no cluster).
enum class Right { Unknown, Granted, Denied };
struct ReferenceRights {
  std::string author = {};  // whose right it would be
  Right secret = Right::Unknown;
  Right mapping = Right::Unknown;
  std::set<kube::ObjectKey> denied_networks = {};  // NetworkAttachmentDefinitions
};

// What is wrong with the request alone: no source or two, no id or name, bad targetVmName, mapping
// items without selector, types and modes outside their enums, ... (validation.md 8). Empty: fine.
std::vector<Finding> check_request(const api::VirtualMachineImport& import,
                                   const ReferenceRights& rights = {});

// The same of the external mapping's section that the import uses (ADM-6 to ADM-13, ADM-20).
std::vector<Finding> check_resource_mapping(const api::ResourceMapping& mapping,
                                            ProviderKind provider);

// A ResourceMapping that cannot be read at all: the error as a finding.
Finding unreadable_resource_mapping(const Error& error);

// Network and storage mapping against source and cluster (validation.md 4-6), in rule order.
std::vector<Finding> check_mappings(const SourceVm& vm, const api::Mappings& mappings,
                                    const ClusterFacts& facts, const std::string& import_ns,
                                    const ReferenceRights& rights = {});

// Source and mapping against what the cluster can do: modes that the storage class's profile does
// not offer (validation.md 5), live migration (DECISION-V2).
std::vector<Finding> check_target(const SourceVm& vm, const api::Mappings& mappings,
                                  const ClusterFacts& facts, const api::ControllerConfig& config);

// The rules that the chosen template brings, against the source and the VM as it will be made:
// "minimal-required-memory", and what it allows as disk buses and NIC models (validation.md 2.1).
std::vector<Finding> check_template(const SourceVm& vm, const kube::Object& template_object,
                                    const kube::Object& built_vm = kube::Object());

// Levels as the configuration overrides them.
std::vector<Finding> apply_overrides(std::vector<Finding> findings,
                                     const api::ControllerConfig& config);

// The two conditions that findings make (validation.md 1 and 6): Valid, then MappingRulesVerified,
// with status, reason and message set. A blocking text ends with its remedy.
std::vector<api::Condition> conditions_from(const std::vector<Finding>& findings,
                                            ProviderKind provider);

// What blocks, for an event about `what`: every text that fits, how many do not, and where all of
// it stands. Without remedies, whose YAML no event holds.
std::string blocked_text(std::string_view what, const std::vector<Finding>& findings);

}  // namespace vmferry::imports
