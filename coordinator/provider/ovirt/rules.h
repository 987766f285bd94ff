#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "coordinator/provider/ovirt/model.h"
#include "coordinator/provider/source_vm.h"

// What about a machine cannot be imported, or changes on the way (validation.md 2 and 3). Pure:
// every rule is evaluated and every finding returned, machine first, then NICs, then disks, each in
// the order of the rules. Each text holds the value that raised it.
//
// Two rules of that chapter need the target and are decided where that is known, from
// SourceVm::memory_bytes and SourceVm::live_migratable: vm.memory template.requests and
// vm.placement_policy.affinity.
namespace vmferry::ovirt {

struct RuleContext {
  // Whether a guest's clock in that zone is the same as UTC (time_zones.h).
  std::function<bool(std::string_view zone)> is_utc_compatible;
};

std::vector<Finding> check_rules(const Vm& vm, const RuleContext& context);

std::vector<Finding> check_vm(const Vm& vm, const RuleContext& context);
std::vector<Finding> check_nics(const Vm& vm);
std::vector<Finding> check_disks(const Vm& vm);

}  // namespace vmferry::ovirt
