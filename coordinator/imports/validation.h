#pragma once

#include <string>
#include <vector>

#include "coordinator/api/config.h"
#include "coordinator/api/import.h"
#include "coordinator/imports/cluster_facts.h"
#include "coordinator/provider/source_vm.h"

// Checks of an import, all pure (validation.md). Every finding is reported at once.
namespace vmferry::imports {

// What is wrong with the request alone: no source or two, no id or name, bad targetVmName, mapping
// items without selector, types and modes outside their enums, ... (validation.md 8). Empty: fine.
std::vector<Finding> check_request(const api::VirtualMachineImport& import);

// The same of the external mapping's section that the import uses (ADM-6 to ADM-13, ADM-20).
std::vector<Finding> check_resource_mapping(const api::ResourceMapping& mapping,
                                            ProviderKind provider);

// Network and storage mapping against source and cluster (validation.md 4-6), in rule order.
std::vector<Finding> check_mappings(const SourceVm& vm, const api::Mappings& mappings,
                                    const ClusterFacts& facts, const std::string& import_ns);

// The source's memory against the rule "minimal-required-memory" of the template that was found
// (validation.md 2.1).
std::vector<Finding> check_template(const SourceVm& vm, const kube::Object& template_object);

// Levels as the configuration overrides them.
std::vector<Finding> apply_overrides(std::vector<Finding> findings,
                                     const api::ControllerConfig& config);

// The two conditions that findings make (validation.md 1 and 6): Valid, then MappingRulesVerified,
// with status, reason and message set. A blocking text ends with its remedy.
std::vector<api::Condition> conditions_from(const std::vector<Finding>& findings,
                                            ProviderKind provider);

}  // namespace vmferry::imports
