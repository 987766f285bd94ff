#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/provider/source_vm.h"
#include "coordinator/provider/vmware/model.h"

// From vSphere's words to the neutral VM (mapping-vmware.md). Pure and total.
namespace vmferry::vmware {

// Everything but the findings, which rules.h adds.
SourceVm translate(const VmModel& vm, const Surroundings& around);

PowerState power_state_of(std::string_view word);
bool is_windows(const VmModel& vm);

// The disks in the order in which firmware counts them: the boot disk first, then by controller as
// listed by the VM, bus number and unit.
std::vector<const Device*> ordered_disks(const VmModel& vm);

// What diskMappings call the disk: vDiskId, else diskObjectId, else "<vm moref>-<device key>".
std::string disk_id(const VmModel& vm, const Device& disk);
// The datastore named in "[ds] dir/disk.vmdk" (up to the first "]"), and the path behind it.
std::string datastore_of(std::string_view file);
std::string path_of(std::string_view file);

const Device* controller_of(const VmModel& vm, const Device& device);

// Keys of SourceDisk::details.
inline constexpr std::string_view kDetailController =
    "controller";  // "ParaVirtualSCSIController 0:0"
inline constexpr std::string_view kDetailDatacenter = "datacenter";  // for dcPath
inline constexpr std::string_view kDetailBacking = "backing";
inline constexpr std::string_view kDetailUuid = "uuid";

}  // namespace vmferry::vmware
