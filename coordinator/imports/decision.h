#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/imports/plan.h"
#include "coordinator/imports/template_choice.h"
#include "coordinator/imports/validation.h"

namespace vmferry::imports {

// Everything that is known when an import is decided.
struct DecisionInput {
  const api::VirtualMachineImport& import;
  const SourceVm& vm;
  const api::Mappings& mappings;  // merged
  const ClusterFacts& facts;
  const api::ControllerConfig& config;
  const UserOsMaps& os_maps;
  std::vector<Finding> mapping_findings;  // of the ResourceMapping, from observe_mappings()
  // What asking the cluster about this import showed: no such ResourceMapping, a name taken.
  std::vector<Finding> more_findings = {};
  ReferenceRights rights = {};
};

struct ImportDecision {
  std::vector<Finding> findings;   // all of them, at the configured levels, in the order of checks
  std::string vm_name;             // empty: no valid one can be made, which is a finding
  std::vector<PlannedDisk> disks;  // in source order
  std::optional<BaseVm> base;      // what the VM is built on; none: `base_problem` says why
  std::optional<Error> base_problem;
  std::optional<kube::Object> vm;  // as it will be created; none without base or name
  bool data_volumes = false;       // its disks are adopted by CDI

  bool blocked() const;
};

// The whole rulebook applied to one import: what is wrong with it, and what it will make. Reads and
// writes nothing. A blocked import is decided all the same, as far as it goes, so that everything
// that is wrong is told at once.
Result<ImportDecision> decide_import(const DecisionInput& input);

}  // namespace vmferry::imports
