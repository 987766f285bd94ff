#pragma once

#include <string>
#include <vector>

#include "coordinator/provider/provider.h"
#include "coordinator/provider/vmware/model.h"
#include "coordinator/provider/vmware/properties.h"

// Finding a VM and what stands around it (source-vmware.md 2.2-2.4).
namespace vmferry::vmware {

struct ListedVm {
  MoRef ref;
  std::string name;  // unescaped
  std::string uuid, instance_uuid;
  friend bool operator==(const ListedVm&, const ListedVm&) = default;
};

// Every VM of the inventory that the account may see, those in vApps included.
Result<std::vector<ListedVm>> list_vms(Exchange& exchange);

// The one VM that `ref` means. An id is a BIOS uuid, an instance uuid or a MoRef; a name is a bare
// name, a path below the data centre's VM folder or a full inventory path. NotFound with
// VMF-SRC-VM-NOT-FOUND; InvalidArgument with VMF-SRC-VM-AMBIGUOUS names the candidates' paths.
Result<MoRef> find_vm_ref(Exchange& exchange, const VmRef& ref);

// The VM's properties; NotFound when it is gone.
Result<VmModel> load_vm(Exchange& exchange, const MoRef& vm);
// Its path, data centre, host and networks; what may not be read stays empty.
Result<Surroundings> load_surroundings(Exchange& exchange, const VmModel& vm);

// "DC/vm/folder/name" from an ancestor line, without the root folder; and that of the data centre.
std::string inventory_path(const std::vector<Ancestor>& line);
std::string datacenter_path(const std::vector<Ancestor>& line);

}  // namespace vmferry::vmware
