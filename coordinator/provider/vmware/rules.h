#pragma once

#include <vector>

#include "coordinator/provider/source_vm.h"
#include "coordinator/provider/vmware/model.h"

// VMware's rules about the VM, its cards and its disks (validation.md 6 and 6.2). Pure. Rules that
// need the mapping, the cluster or the template are not here: the provider knows none of them.
namespace vmferry::vmware {

// What decides how the VM may be stopped and its disks read.
struct ImportTerms {
  bool vddk = false;           // an agent has VDDK, so what only that can read blocks nothing
  bool may_cut_power = false;  // so tools are not needed
  DiskWays ways = {};          // that the import asks for
};

// For a cold import: the VM's findings in the order of the spec's table, then NICs, then disks.
std::vector<Finding> find_problems(const VmModel& vm, const ImportTerms& terms = {});

// What a warm import demands beyond that: change tracking, no independent disks, tracking older
// than the snapshots.
std::vector<Finding> find_warm_problems(const VmModel& vm);

// About the connection: a certificate that is trusted by CA only (vmware.api.thumbprint).
std::vector<Finding> find_connection_problems(bool has_thumbprint);

}  // namespace vmferry::vmware
