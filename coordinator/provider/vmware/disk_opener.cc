#include "coordinator/provider/vmware/disk_opener.h"

#include <algorithm>

#include "common/catalogue.h"
#include "coordinator/provider/vmware/export_lease.h"
#include "coordinator/provider/vmware/inventory.h"
#include "coordinator/provider/vmware/power.h"
#include "coordinator/provider/vmware/translate.h"

namespace vmferry::vmware {
namespace {

MoRef vm_ref(const SourceVm& vm) { return {"VirtualMachine", vm.native_id}; }

// A lease's handle is "lease:OWNER:REFERENCE": what is needed to take it over after a restart.
// Other openings have none.
constexpr std::string_view kLeasePrefix = "lease:";

struct LeaseHandle {
  std::string owner;
  MoRef lease;
};

std::string handle_of(const MoRef& lease, const std::string& owner) {
  return std::string(kLeasePrefix) + owner + ":" + lease.value;
}

std::optional<LeaseHandle> lease_of(std::string_view handle) {
  if (!handle.starts_with(kLeasePrefix)) return std::nullopt;
  handle.remove_prefix(kLeasePrefix.size());
  const auto colon = handle.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  return LeaseHandle{std::string(handle.substr(0, colon)),
                     MoRef{"HttpNfcLease", std::string(handle.substr(colon + 1))}};
}

// Why a flat file cannot be read that an export has nothing to do with: what it is, or that the
// account may not read datastores.
bool leaves_export(const Error& error) {
  return error.code() == code::kDiskUnsupported || error.code() == code::kSourcePrivilege;
}

// Until the lease itself has said how long it lives without a report.
constexpr std::chrono::milliseconds kFirstReport{10'000};

// Its disk must be opened anew; what was read of it so far may still be good.
Error lease_is_over(std::string_view why) {
  return coded_error(ErrorKind::DataLoss, code::kSourceRead, "the export lease has ended: {}", why);
}

}  // namespace

DiskOpener::DiskOpener(Client& client, std::string origin, const Logger& log)
    : client_(client), log_(log), files_(std::move(origin)), keeper_(client, log) {}

Result<DiskOpener::Found> DiskOpener::find(Exchange& exchange, const SourceVm& vm,
                                           const SourceDisk& disk) {
  // The VM may have changed since it was read for the import: look again at what matters.
  Found found;
  found.vm =
      read_vm(TRY(retrieve_one(exchange, vm_ref(vm),
                               {"name", "config.instanceUuid", "config.changeVersion",
                                "config.hardware.device", "runtime.powerState", "runtime.host"})));
  if (found.vm.power_state != "poweredOff") {
    return coded_error(ErrorKind::Aborted, code::kVmState,
                       "the VM is {}, not poweredOff; its disks change while it runs: shut it down",
                       found.vm.power_state);
  }
  const auto device = std::ranges::find_if(found.vm.devices, [&disk](const Device& d) {
    return is_disk(d) && std::to_string(d.key) == disk.attachment_id;
  });
  if (device == found.vm.devices.end()) {
    return coded_error(ErrorKind::NotFound, code::kDiskMissing,
                       "the VM has no disk with key {} any more; check its disks in the vSphere "
                       "client",
                       disk.attachment_id);
  }
  found.device = *device;
  found.current_file = device->backing.file;
  if (!device->backing.parent_file.empty() && device->backing.parent_file == disk.file) {
    if (!is_untouched_snapshot_of(device->backing, disk.file)) {
      return coded_error(
          ErrorKind::Unavailable, code::kDiskLocked,
          "a snapshot of the VM was taken since its copying began, and what is in it "
          "is not known to be what is copied: delete the snapshot");
    }
    Backing& backing = found.device.backing;
    backing.file = disk.file;
    backing.parents -= 1;
    backing.parent_file.clear();
    backing.parent_content_id.clear();
  }
  if (device->capacity_bytes != disk.size_bytes || found.device.backing.file != disk.file) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "it is now file '{}' of {} bytes, it was '{}' of {} bytes",
                       device->backing.file, device->capacity_bytes, disk.file, disk.size_bytes);
  }
  found.vm.last_start = TRY(read_last_start(exchange, found.vm.ref));
  return found;
}

// The host that the VM is on now: it may have moved since the disk was opened last.
Result<std::string> DiskOpener::host_of(Exchange& exchange, const VmModel& vm) {
  if (vm.host.empty()) return std::string();
  const Result<ObjectProperties> host = retrieve_one(exchange, vm.host, {"name"});
  if (!host && host.error().kind() == ErrorKind::Canceled) return host.error();
  const std::string name = host ? host->text("name") : std::string();
  return fmt::format("{} of {}", name.empty() ? vm.host.value : name, client_.options().host);
}

// Said over the session, whose server is verified. Accounts of few rights are not told it.
Result<std::string> DiskOpener::host_thumbprint(Exchange& exchange, const VmModel& vm) {
  if (vm.host.empty()) return std::string();
  const auto host = retrieve_one(exchange, vm.host, {"summary.config.sslThumbprint"});
  if (!host && is_retryable(host.error().kind())) return host.error();
  if (!host && host.error().kind() == ErrorKind::Canceled) return host.error();
  return host ? host->text("summary.config.sslThumbprint") : std::string();
}

Result<FlatFile> DiskOpener::flat_file(Exchange& exchange, const SourceVm& vm,
                                       const SourceDisk& disk, const Device& device) {
  std::string datacenter;
  const auto known = disk.details.find(std::string(kDetailDatacenter));
  if (known != disk.details.end()) datacenter = known->second;
  if (datacenter.empty()) datacenter = datacenter_path(TRY(ancestors(exchange, vm_ref(vm))));
  return files_.locate(exchange, device, datacenter);
}

Result<std::optional<std::string>> DiskOpener::why_not_flat(Exchange& exchange, const SourceVm& vm,
                                                            const SourceDisk& disk,
                                                            const Device& device) {
  const Result<FlatFile> file = flat_file(exchange, vm, disk, device);
  if (file) return std::optional<std::string>();
  if (file.error().kind() == ErrorKind::Canceled) return file.error();
  if (!leaves_export(file.error())) return std::optional<std::string>();
  return std::optional(file.error().message());
}

// A lease that is ready gives an endpoint; one that is not, nothing yet.
Result<DiskOpening> DiskOpener::leased(Exchange& exchange, const Found& found,
                                       const SourceDisk& disk, const MoRef& lease,
                                       const std::string& owner) {
  Result<LeaseInfo> info = read_lease(exchange, lease);
  if (!info && info.error().kind() == ErrorKind::NotFound) {
    keeper_.forget(lease);
    return lease_is_over("the server does not know it any more");
  }
  if (!info) return std::move(info).error();
  if (info->state == LeaseInfo::State::Ended) {
    keeper_.forget(lease);
    return lease_is_over(info->error);
  }
  keeper_.keep(lease, found.vm.ref, owner, disk.id, LeaseKeeper::interval(info->timeout));
  DiskOpening opening{handle_of(lease, owner), std::nullopt, "", TRY(host_of(exchange, found.vm))};
  if (info->state == LeaseInfo::State::Initializing) return opening;
  std::optional<LeaseUrl> url = url_of_disk(*info, found.vm, found.device);
  if (!url) {
    return coded_error(ErrorKind::InvalidArgument, code::kDiskUnsupported,
                       "the export lease does not offer this disk; configure VDDK");
  }
  if (url->thumbprint.empty()) url->host_thumbprint = TRY(host_thumbprint(exchange, found.vm));
  opening.endpoint =
      TRY(lease_endpoint(client_.options(), exchange.session(), found.vm, found.device, *url));
  return opening;
}

namespace {

DiskWay way_of(AccessPath path) {
  switch (path) {
    case AccessPath::FlatFile:
      return DiskWay::FlatFile;
    case AccessPath::Vddk:
      return DiskWay::Vddk;
    case AccessPath::ExportLease:
      return DiskWay::ExportLease;
    case AccessPath::None:
      break;
  }
  return DiskWay::Automatic;
}

Error no_way(const AccessChoice& access) {
  return coded_error(ErrorKind::InvalidArgument, code::kDiskUnsupported, "{}; {}", access.reason,
                     access.remedy);
}

}  // namespace

Result<WayChoice> DiskOpener::chosen(Exchange& exchange, const SourceVm& vm, const SourceDisk& disk,
                                     const Device& device, bool vddk) {
  AccessChoice access = choose_access(device, vddk, disk.way);
  if (access.path == AccessPath::FlatFile && disk.way == DiskWay::Automatic) {
    // Only the descriptor tells: the backing says flat.
    const Result<FlatFile> file = flat_file(exchange, vm, disk, device);
    if (!file && !leaves_export(file.error())) return file.error();
    if (!file) access = choose_export(device, file.error().message());
  }
  if (access.path != AccessPath::None) return WayChoice{way_of(access.path), access.reason};
  // An agent with VDDK may come; the disk will not change.
  if (!vddk && choose_access(device, true, disk.way).path == AccessPath::Vddk) {
    return coded_error(ErrorKind::Unavailable, code::kVddkAgent,
                       "only VDDK can read it ({}), and no agent that can write its target has it",
                       access.reason);
  }
  return no_way(access);
}

Result<DiskOpening> DiskOpener::opened(Exchange& exchange, const SourceVm& vm,
                                       const SourceDisk& disk, const std::string& owner) {
  const Found found = TRY(find(exchange, vm, disk));
  WayChoice choice{disk.way, ""};
  if (disk.way == DiskWay::Automatic) {
    choice = TRY(chosen(exchange, vm, disk, found.device, false));
  } else if (const AccessChoice access = choose_access(found.device, true, disk.way);
             access.path == AccessPath::None) {
    return no_way(access);
  }
  switch (choice.way) {
    case DiskWay::FlatFile: {
      const FlatFile file = TRY(flat_file(exchange, vm, disk, found.device));
      return DiskOpening{
          {},
          make_endpoint(client_.options(), exchange.session(), found.vm, found.device, file),
          std::move(choice.why),
          TRY(host_of(exchange, found.vm))};
    }
    case DiskWay::Vddk: {
      DiskEndpoint endpoint = make_plain_endpoint(client_.options(), exchange.session(), found.vm,
                                                  found.device, found.current_file);
      if (endpoint.vddk.thumbprint.empty()) {
        return coded_error(ErrorKind::InvalidArgument, code::kSourceTls,
                           "VDDK needs the SHA-1 thumbprint of the server's certificate, which is "
                           "not known; put it into the credentials secret");
      }
      return DiskOpening{
          {}, std::move(endpoint), std::move(choice.why), TRY(host_of(exchange, found.vm))};
    }
    case DiskWay::ExportLease: {
      std::optional<MoRef> lease = keeper_.of(found.vm.ref, owner);
      if (!lease) {
        lease = TRY(export_vm(exchange, found.vm.ref));
        keeper_.keep(*lease, found.vm.ref, owner, disk.id, kFirstReport);
      }
      auto opening = leased(exchange, found, disk, *lease, owner);
      if (opening) opening->why = std::move(choice.why);
      if (opening || opening.error().code() != code::kSourceRead) return opening;
      // Forgotten by now: the next try makes another one.
      return Error(ErrorKind::Unavailable, code::kSourceRead, opening.error().message());
    }
    case DiskWay::Automatic:
    case DiskWay::Elsewhere:
      break;
  }
  return make_error(ErrorKind::Internal, "disk way '{}' is not one of a vCenter",
                    to_string(choice.way));
}

Result<WayChoice> DiskOpener::choose(const SourceVm& vm, const SourceDisk& disk, bool vddk,
                                     std::stop_token stop) {
  return client_.in_session(std::move(stop), [&](Exchange& exchange) -> Result<WayChoice> {
    const Found found = TRY(find(exchange, vm, disk));
    return chosen(exchange, vm, disk, found.device, vddk);
  });
}

namespace {

Result<DiskOpening> with_budget(Exchange& exchange, Result<DiskOpening> opening) {
  if (!opening || !opening->endpoint) return opening;
  opening->budget = budget_of(*opening->endpoint, exchange.content().is_vcenter());
  return opening;
}

}  // namespace

Result<DiskOpening> DiskOpener::open(const SourceVm& vm, const SourceDisk& disk,
                                     const std::string& owner, std::stop_token stop) {
  return client_.in_session(std::move(stop), [&](Exchange& exchange) {
    return with_budget(exchange, opened(exchange, vm, disk, owner));
  });
}

Result<DiskOpening> DiskOpener::poll(const SourceVm& vm, const SourceDisk& disk,
                                     const std::string& handle, std::stop_token stop) {
  const std::optional<LeaseHandle> known = lease_of(handle);
  return client_.in_session(std::move(stop), [&](Exchange& exchange) -> Result<DiskOpening> {
    if (!known) return with_budget(exchange, opened(exchange, vm, disk, ""));
    const Found found = TRY(find(exchange, vm, disk));
    return with_budget(exchange, leased(exchange, found, disk, known->lease, known->owner));
  });
}

void DiskOpener::report_progress(const std::string& handle, int percent) {
  if (const auto known = lease_of(handle)) keeper_.set_percent(known->lease, percent);
}

Result<std::vector<std::pair<std::string, std::string>>> DiskOpener::identity(
    const SourceVm& vm, const SourceDisk& disk, std::stop_token stop) {
  using Identity = std::vector<std::pair<std::string, std::string>>;
  return client_.in_session(std::move(stop), [&](Exchange& exchange) -> Result<Identity> {
    const Found found = TRY(find(exchange, vm, disk));
    if (choose_access(found.device, false).path == AccessPath::FlatFile) {
      const Result<FlatFile> file = flat_file(exchange, vm, disk, found.device);
      if (file) {
        return make_endpoint(client_.options(), exchange.session(), found.vm, found.device, *file)
            .identity;
      }
      if (!leaves_export(file.error())) return file.error();
    }
    return make_plain_endpoint(client_.options(), exchange.session(), found.vm, found.device)
        .identity;
  });
}

Result<void> DiskOpener::release(const std::string& handle, const std::string& disk_id,
                                 const std::string& owner, bool success, std::stop_token stop) {
  std::optional<MoRef> lease;
  if (const auto known = lease_of(handle)) lease = known->lease;
  if (handle.empty()) lease = keeper_.of_disk(disk_id, owner);
  if (!lease) return {};
  TRY(client_.in_session(std::move(stop),
                         [&](Exchange& exchange) { return end_lease(exchange, *lease, success); }));
  keeper_.forget(*lease);
  return {};
}

void DiskOpener::close() {
  for (const MoRef& lease : keeper_.all()) {
    const Result<void> ended = client_.in_session(
        {}, [&](Exchange& exchange) { return end_lease(exchange, lease, false); });
    if (!ended) log_.warn("an export lease could not be aborted", ended.error());
    keeper_.forget(lease);
  }
}

}  // namespace vmferry::vmware
