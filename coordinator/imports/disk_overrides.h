#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "common/endpoint.h"
#include "common/result.h"
#include "coordinator/kube/object.h"
#include "coordinator/provider/source_vm.h"

namespace vmferry::imports {

// Annotation on an import; "false": an oVirt server that offers checksums is not asked for its own
// of each disk, which is compared with that of the copy and makes it read the disk once more.
inline constexpr std::string_view kCompareSourceDigest =
    "vmimport.v2v.kubevirt.io/compare-source-digest";

// How a user wants one disk to be read instead of the provider's own way.
struct DiskOverride {
  std::optional<DiskEndpoint> endpoint;  // an NBD server that serves the same bytes
  DiskWay way = DiskWay::Automatic;      // VMware: how to read it
};

// From annotation vmimport.v2v.kubevirt.io/disk-sources, a JSON object of disk id or name ("*": all
// others) to an NBD URI, to {"url": URI, "ca": PEM}, or to "vddk", "https" or "export". For sites
// whose storage array or replica can serve a disk faster than the hypervisor, and to overrule the
// choice of the way. InvalidArgument tells what is wrong.
Result<DiskOverride> disk_override(const kube::Object& import, const SourceDisk& disk);

// All that the annotation asks for, to be judged at the source. What is wrong with it is told by
// check_disk_sources().
DiskWays disk_ways(const kube::Object& import);

// The same for all disks of the VM, so that it is told before the VM is stopped for its copy.
// Without `local_sources` an NBD server is named by host and port alone (is_over_the_network()).
std::vector<Finding> check_disk_sources(const kube::Object& import, const SourceVm& vm,
                                        bool local_sources);

}  // namespace vmferry::imports
