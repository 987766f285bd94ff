#pragma once

#include <string>
#include <vector>

#include "coordinator/api/import.h"
#include "coordinator/imports/mapping.h"
#include "coordinator/kube/object.h"
#include "coordinator/provider/source_vm.h"

namespace vmferry::imports {

struct BuildInput {
  const api::VirtualMachineImport& import;
  const SourceVm& vm;
  const api::Mappings& mappings;
  kube::Object base;  // from a template, or empty_base_vm
  std::string vm_name;
  std::string os;                   // common OS name; empty if unknown
  std::vector<std::string> claims;  // claim name per vm.disks entry, same order
  bool data_volumes = false;        // reference DataVolumes (CDI) instead of claims
  bool converted = false;           // virt-v2v has put virtio drivers into the guest
  // A cluster instance type of the source's size, in place of CPU and memory; empty: none.
  std::string instancetype = {};
};

// The KubeVirt VirtualMachine (kubevirt.io/v1): base merged with what the source determines
// (mapping-ovirt.md 3-6, mapping-vmware.md 3-6, decisions M1-M4). Run strategy Halted; the start
// step changes it. Deterministic. Owner reference, tracker label and propagated annotations set.
kube::Object build_vm(const BuildInput& input);

}  // namespace vmferry::imports
