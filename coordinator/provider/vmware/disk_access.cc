#include "coordinator/provider/vmware/disk_access.h"

#include <algorithm>
#include <cctype>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/provider/vmware/translate.h"

namespace vmferry::vmware {
namespace {

// A datastore opens and closes the file for each request: fewer, larger ones
// (source-vmware.md 6.3).
constexpr std::uint64_t kRequestBytes = 16 * kMiB;
constexpr int kHostConnections = 4;
constexpr int kVcenterConnections = 2;  // it relays every byte over its own link to the host
constexpr std::uint64_t kVddkBytes = 8 * kMiB;  // eight requests of 1 MiB (8.3)
constexpr std::size_t kSha1Characters = 59;
constexpr std::size_t kMostFiles = 64;  // each is asked for by itself

std::string encoded(std::string_view text, bool twice) {
  const std::string once = url_encode(text);
  return twice ? url_encode(once) : once;
}

AccessChoice none(std::string reason, std::string remedy) {
  return {AccessPath::None, std::move(reason), std::move(remedy)};
}

Error unsupported(std::string text) {
  return Error(ErrorKind::InvalidArgument, code::kDiskUnsupported, std::move(text));
}

}  // namespace

bool has_delta_name(std::string_view file) {
  constexpr std::string_view kSuffix = ".vmdk";
  constexpr std::size_t kDigits = 6;
  if (!file.ends_with(kSuffix)) return false;
  file.remove_suffix(kSuffix.size());
  if (file.size() < kDigits + 1 || file[file.size() - kDigits - 1] != '-') return false;
  return std::ranges::all_of(file.substr(file.size() - kDigits),
                             [](unsigned char c) { return std::isdigit(c) != 0; });
}

bool is_delta(const Device& disk) {
  return disk.backing.parents > 0 || has_delta_name(disk.backing.file) ||
         disk.backing.type == "VirtualDiskSeSparseBackingInfo";
}

namespace {

// Why the disk cannot be read in one of the ways, and what a person does about it; both empty when
// it can.
struct Obstacle {
  std::string reason, remedy;
};

Obstacle obstacle_of_all(const Backing& backing) {
  if (backing.file.empty()) {
    return {"backing " + (backing.type.empty() ? "missing" : backing.type) + " has no file",
            "move the disk to a datastore as an ordinary virtual disk"};
  }
  if (backing.type == "VirtualDiskLocalPMemBackingInfo") {
    return {"it lies in persistent memory", "move the disk to a datastore"};
  }
  if (backing.type == "VirtualDiskRawDiskMappingVer1BackingInfo" &&
      backing.compatibility_mode == "physicalMode") {
    return {"it is a raw device in physical mode",
            "attach the device to the target by other means, or convert it to a virtual disk"};
  }
  return {};
}

Obstacle obstacle_of_flat(const Device& disk) {
  if (!disk.backing.key_id.empty()) return {"it is encrypted", "decrypt the VM's storage policy"};
  if (is_delta(disk)) {
    return {"its current file is the delta of a snapshot",
            "delete the VM's snapshots and consolidate its disks"};
  }
  if (disk.backing.type != "VirtualDiskFlatVer2BackingInfo") {
    return {"backing " + disk.backing.type + " is not a flat file",
            "migrate the disk to a datastore as thick or thin provisioned"};
  }
  return {};
}

// A host exports what it can decrypt for nobody else, so not an encrypted disk.
Obstacle obstacle_of_export(const Device& disk) {
  if (!disk.backing.key_id.empty()) return {"it is encrypted", "decrypt the VM's storage policy"};
  return {};
}

AccessChoice not_as_asked(Obstacle obstacle) {
  return none(std::move(obstacle.reason),
              obstacle.remedy + ", or leave the choice of the way to the import");
}

AccessChoice by_export(std::string why) {
  return {AccessPath::ExportLease,
          std::move(why) + ": one stream from an export lease, which cannot be resumed",
          {}};
}

}  // namespace

bool is_untouched_snapshot_of(const Backing& now, std::string_view file) {
  return now.parent_file == file && !now.content_id.empty() &&
         now.content_id == now.parent_content_id;
}

std::string why_not_flat(const Device& disk) {
  Obstacle any = obstacle_of_all(disk.backing);
  return any.reason.empty() ? obstacle_of_flat(disk).reason : std::move(any.reason);
}

AccessChoice choose_access(const Device& disk, bool vddk, DiskWay wanted) {
  if (Obstacle any = obstacle_of_all(disk.backing); !any.reason.empty()) {
    return none(std::move(any.reason), std::move(any.remedy));
  }
  Obstacle flat = obstacle_of_flat(disk);
  Obstacle exported = obstacle_of_export(disk);
  switch (wanted) {
    case DiskWay::Vddk:
      if (vddk) return {AccessPath::Vddk, "VDDK, as asked for", {}};
      return not_as_asked({"no agent has VDDK", "start an agent with --vddk-libdir"});
    case DiskWay::FlatFile:
      if (flat.reason.empty()) return {AccessPath::FlatFile, "flat file, as asked for", {}};
      return not_as_asked(std::move(flat));
    case DiskWay::ExportLease:
      if (exported.reason.empty()) return by_export("as asked for");
      return not_as_asked(std::move(exported));
    case DiskWay::Automatic:
    case DiskWay::Elsewhere:  // then nobody asks here
      break;
  }
  if (vddk) return {AccessPath::Vddk, "an agent has VDDK", {}};
  if (flat.reason.empty()) {
    return {AccessPath::FlatFile, "flat file, read over HTTPS with ranges; no agent has VDDK", {}};
  }
  if (exported.reason.empty()) return by_export(flat.reason + " and no agent has VDDK");
  return none(flat.reason, flat.remedy + ", or configure VDDK");
}

AccessChoice choose_export(const Device& disk, std::string_view why) {
  Obstacle exported = obstacle_of_export(disk);
  if (exported.reason.empty()) return by_export(std::string(why));
  return none(std::move(exported.reason), std::move(exported.remedy));
}

std::string folder_url(std::string_view origin, std::string_view datastore, std::string_view path,
                       std::string_view datacenter, bool twice) {
  std::string url(origin);
  url += "/folder";
  while (!path.empty()) {
    const auto slash = std::min(path.find('/'), path.size());
    url += '/' + url_encode(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  url += "?dcPath=" + encoded(datacenter, twice) + "&dsName=" + encoded(datastore, twice);
  return url;
}

std::string sibling(std::string_view file, std::string_view name) {
  const auto bracket = file.find(']');
  const auto slash = file.rfind('/');
  if (slash != std::string_view::npos && (bracket == std::string_view::npos || slash > bracket)) {
    return std::string(file.substr(0, slash + 1)) + std::string(name);
  }
  if (bracket == std::string_view::npos) return std::string(name);
  return std::string(file.substr(0, bracket + 1)) + " " + std::string(name);
}

Result<FlatLayout> flat_layout(const VmdkDescriptor& descriptor, std::uint64_t capacity_bytes) {
  if (Result<void> flat = check_vmdk_is_flat(descriptor); !flat) return std::move(flat).error();
  FlatLayout layout;
  for (const VmdkExtent& extent : descriptor.extents) {
    if (!extent.is_raw()) continue;
    // A descriptor names its neighbours; anything else would lead out of the VM's directory.
    if (extent.file.empty() || extent.file.find('/') != std::string::npos || extent.file == "..") {
      return unsupported("its extent '" + extent.file + "' does not lie beside its descriptor");
    }
    auto file = std::ranges::find(layout.files, extent.file, &FlatLayout::File::name);
    if (file == layout.files.end()) {
      file = layout.files.insert(file, {extent.file, 0});
    }
    file->size_bytes = std::max(file->size_bytes, extent.file_offset + extent.length);
  }
  if (layout.files.size() > kMostFiles) {
    return unsupported(fmt::format("it is split into {} files", layout.files.size()));
  }
  const std::uint64_t size = descriptor.size_bytes();
  if (size != capacity_bytes) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "its descriptor says {} bytes, the VM {} bytes", size, capacity_bytes);
  }
  layout.by_descriptor = descriptor.extents.size() != 1 || layout.files.empty() ||
                         descriptor.extents.front().file_offset != 0 ||
                         !layout.files.front().name.ends_with("-flat.vmdk");
  return layout;
}

namespace {

void identify(DiskEndpoint& endpoint, std::string name, const std::string& value) {
  if (!value.empty()) endpoint.identity.emplace_back(std::move(name), value);
}

// `cid`: the descriptor's content id, where it was read.
DiskEndpoint endpoint_with(const ClientOptions& account, const Session& session, const VmModel& vm,
                           const Device& disk, const std::string& current_file,
                           const std::string& cid) {
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::NbdkitVddk;
  endpoint.trust = account.trust;
  endpoint.size_bytes = disk.capacity_bytes;
  identify(endpoint, "vCenter instance", session.content.instance_uuid);
  identify(endpoint, "VM instance uuid", vm.instance_uuid);
  identify(endpoint, "disk uuid",
           disk.backing.uuid.empty() ? disk_id(vm, disk) : disk.backing.uuid);
  identify(endpoint, "long content id", disk.backing.content_id);
  identify(endpoint, "content id", cid);
  // CBT's position moves with each snapshot too, so it stands in for what tells of writes alone.
  if (disk.backing.content_id.empty()) identify(endpoint, "change id", disk.backing.change_id);
  // A note that somebody edits is a change of the VM too, so its version is the last resort.
  if (vm.last_start) {
    identify(endpoint, "last start",
             vm.last_start->empty() ? std::string(kIdentityNone) : *vm.last_start);
  } else {
    identify(endpoint, "change version", vm.change_version);
  }
  identify(endpoint, "capacity", std::to_string(disk.capacity_bytes));
  identify(endpoint, std::string(kIdentityFile), disk.backing.file);

  endpoint.vddk.server = account.host;
  endpoint.vddk.port = account.port;
  endpoint.vddk.user = account.username;
  endpoint.vddk.password = account.password;
  endpoint.vddk.thumbprint = account.trust.thumbprint.size() == kSha1Characters
                                 ? account.trust.thumbprint
                                 : session.thumbprint_sha1;
  endpoint.vddk.vm_moref = vm.ref.value;
  endpoint.vddk.file = current_file;
  return endpoint;
}

}  // namespace

DiskEndpoint make_plain_endpoint(const ClientOptions& account, const Session& session,
                                 const VmModel& vm, const Device& disk,
                                 const std::string& current_file) {
  return endpoint_with(account, session, vm, disk,
                       current_file.empty() ? disk.backing.file : current_file, "");
}

DiskEndpoint make_endpoint(const ClientOptions& account, const Session& session, const VmModel& vm,
                           const Device& disk, const FlatFile& file) {
  DiskEndpoint endpoint =
      endpoint_with(account, session, vm, disk, disk.backing.file, file.content_id);
  endpoint.kind = SourceKind::HttpRange;
  endpoint.url = file.url;
  endpoint.size_bytes = file.size_bytes;
  endpoint.cookie = session.cookie;
  identify(endpoint, "file modified", file.modified);
  identify(endpoint, "file bytes", std::to_string(file.size_bytes));
  endpoint.max_connections = session.content.is_vcenter() ? kVcenterConnections : kHostConnections;
  endpoint.request_bytes = kRequestBytes;
  return endpoint;
}

SourceBudget budget_of(const DiskEndpoint& endpoint, bool through_vcenter) {
  switch (endpoint.kind) {
    case SourceKind::NbdkitVddk:
      return {.host_bytes = kVddkBytes};
    case SourceKind::HttpRange:
      if (through_vcenter) return {.provider_connections = endpoint.max_connections};
      return {.host_connections = endpoint.max_connections};
    case SourceKind::VmdkStream:
      return {.host_connections = 1};
    default:
      return {};
  }
}

}  // namespace vmferry::vmware
