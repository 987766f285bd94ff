#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "common/endpoint.h"
#include "coordinator/provider/vmware/client.h"
#include "coordinator/provider/vmware/model.h"
#include "coordinator/provider/vmware/properties.h"

// A lease of a whole VM for export (source-vmware.md 7.1): while somebody reports progress, each of
// its disks can be fetched from a URL as one streamOptimized VMDK of its current content.
namespace vmferry::vmware {

// What one deviceUrl of the lease says.
struct LeaseUrl {
  std::string key;  // "/vm-42/ParaVirtualSCSIController0:0"
  std::string url;  // the host part may be "*": the host that was asked
  std::string thumbprint;
  bool disk = false;
  std::string host_thumbprint = {};  // of the VM's host, where vCenter tells it
  friend bool operator==(const LeaseUrl&, const LeaseUrl&) = default;
};

struct LeaseInfo {
  enum class State { Initializing, Ready, Ended };
  State state = State::Initializing;
  std::string error;             // Ended: why, as the server says
  std::chrono::seconds timeout;  // without progress
  std::vector<LeaseUrl> urls;
};

// From the properties that read_lease asks for.
LeaseInfo lease_info(const ObjectProperties& properties);

// Leases the VM, which must be off. Unavailable with VMF-SRC-DISK-LOCKED while something else holds
// it, another lease included.
Result<MoRef> export_vm(Exchange& exchange, const MoRef& vm);
// NotFound with VMF-XFER-SOURCE-READ when the lease is gone: ended, or of a session that is over.
Result<LeaseInfo> read_lease(Exchange& exchange, const MoRef& lease);
Result<void> report_lease_progress(Exchange& exchange, const MoRef& lease, int percent);
// Completes or aborts it. Success when it is gone already.
Result<void> end_lease(Exchange& exchange, const MoRef& lease, bool success);

// The URL of `disk`, by its place: controller type, bus number and unit. Nothing: the lease does
// not offer it, or not clearly.
std::optional<LeaseUrl> url_of_disk(const LeaseInfo& lease, const VmModel& vm, const Device& disk);

// The endpoint for reading that URL. Trusts the host by the thumbprint that the lease names, our
// own server as it is trusted anyway, and anybody else by what vCenter says of the VM's host, or by
// its certificate's authority; never nothing. InvalidArgument with VMF-SRC-PROTOCOL for a URL that
// is none.
Result<DiskEndpoint> lease_endpoint(const ClientOptions& account, const Session& session,
                                    const VmModel& vm, const Device& disk, const LeaseUrl& url);

}  // namespace vmferry::vmware
