#pragma once

#include <string>
#include <vector>

#include "coordinator/api/config.h"
#include "coordinator/api/import.h"
#include "coordinator/imports/cluster_facts.h"
#include "coordinator/imports/os_match.h"
#include "coordinator/imports/plan.h"
#include "coordinator/provider/source_vm.h"

// What an import will do, decided from what was read; pure. The reconciler and the dry run of
// `vmferry validate` both call these functions, so that they cannot disagree.
namespace vmferry::imports {

// Everything that the decisions rest on.
struct DecisionInput {
  const api::VirtualMachineImport& import;
  const SourceVm& vm;
  const api::Mappings& mappings;  // the import's own merged with its ResourceMapping's
  const ClusterFacts& facts;
  const api::ControllerConfig& config;
  const Result<OsMaps>& os_maps;  // an error: the user's ConfigMap could not be read
};

// All findings about mappings, source and template, with the levels that the configuration wants.
std::vector<Finding> judge(const DecisionInput& input);

struct Decision {
  ImportPlan plan;
  std::string os;      // common OS name; empty if unknown
  std::string os_why;  // what in the source told it, or why nothing does
};
// OS, template, disks' targets and the VM as it will be created. `vm_name` is that of
// target_vm_name(). Errors: VMF-REQ-TEMPLATE when there is no template and none may be left out.
Result<Decision> decide(const DecisionInput& input, const std::string& vm_name);

}  // namespace vmferry::imports
