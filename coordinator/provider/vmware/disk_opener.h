#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/log.h"
#include "coordinator/provider/provider.h"
#include "coordinator/provider/vmware/client.h"
#include "coordinator/provider/vmware/datastore_files.h"
#include "coordinator/provider/vmware/disk_access.h"
#include "coordinator/provider/vmware/lease_keeper.h"

namespace vmferry::vmware {

// Opens disks of VMs that are off: chooses the way, checks that the disk is still the one that was
// planned, and makes the endpoint. All disks of one VM and owner share one export lease; its
// reference is their handle. Thread-safe.
class DiskOpener {
 public:
  DiskOpener(Client& client, std::string origin, const Logger& log);

  // As Provider::choose_way; the disk's descriptor is looked at where its backing looks flat.
  Result<WayChoice> choose(const SourceVm& vm, const SourceDisk& disk, bool vddk,
                           std::stop_token stop);
  // In the way that the disk names; a disk that names none is chosen for as without VDDK.
  // Errors: Aborted with VMF-SRC-VM-STATE (not off), NotFound with VMF-SRC-DISK-MISSING or
  // -VM-NOT-FOUND, InvalidArgument with VMF-SRC-DISK-UNSUPPORTED and what to do, DataLoss with
  // VMF-SRC-CHANGED, Unavailable with VMF-SRC-DISK-LOCKED or while the lease is not to be had.
  Result<DiskOpening> open(const SourceVm& vm, const SourceDisk& disk, const std::string& owner,
                           std::stop_token stop);
  // The same for an opening that exists; adopts the lease of an earlier process. DataLoss with
  // VMF-XFER-SOURCE-READ when the lease is over.
  Result<DiskOpening> poll(const SourceVm& vm, const SourceDisk& disk, const std::string& handle,
                           std::stop_token stop);
  // Why a disk whose backing looks flat is not, as its descriptor tells: for an import that wants
  // it read in this way and no other, before its VM is stopped. Nothing: it is, or its descriptor
  // cannot be read while the VM runs.
  Result<std::optional<std::string>> why_not_flat(Exchange& exchange, const SourceVm& vm,
                                                  const SourceDisk& disk, const Device& device);
  void report_progress(const std::string& handle, int percent);
  Result<std::vector<std::pair<std::string, std::string>>> identity(const SourceVm& vm,
                                                                    const SourceDisk& disk,
                                                                    std::stop_token stop);
  // Completes or aborts the lease behind the handle; with an empty one, that of the disk if this
  // process knows of one. A lease that nobody knows any more ends by itself within its timeout.
  Result<void> release(const std::string& handle, const std::string& disk_id,
                       const std::string& owner, bool success, std::stop_token stop);
  // Aborts every lease that this process knows: they would end with the session anyway, later.
  void close();

 private:
  // What the server says of the VM now, and which of its devices the disk is.
  struct Found {
    VmModel vm;
    Device device;             // as it was planned
    std::string current_file;  // the delta of a snapshot that was taken since
  };
  static Result<Found> find(Exchange& exchange, const SourceVm& vm, const SourceDisk& disk);
  static Result<std::string> host_thumbprint(Exchange& exchange, const VmModel& vm);
  Result<std::string> host_of(Exchange& exchange, const VmModel& vm);
  Result<WayChoice> chosen(Exchange& exchange, const SourceVm& vm, const SourceDisk& disk,
                           const Device& device, bool vddk);
  Result<DiskOpening> opened(Exchange& exchange, const SourceVm& vm, const SourceDisk& disk,
                             const std::string& owner);
  Result<FlatFile> flat_file(Exchange& exchange, const SourceVm& vm, const SourceDisk& disk,
                             const Device& device);
  Result<DiskOpening> leased(Exchange& exchange, const Found& found, const SourceDisk& disk,
                             const MoRef& lease, const std::string& owner);

  Client& client_;
  const Logger log_;
  DatastoreFiles files_;
  LeaseKeeper keeper_;
};

}  // namespace vmferry::vmware
