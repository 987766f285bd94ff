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
constexpr std::size_t kSha1Characters = 59;

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

AccessChoice choose_access(const Device& disk, bool vddk) {
  const Backing& backing = disk.backing;
  if (backing.file.empty()) {
    return none("backing " + (backing.type.empty() ? "missing" : backing.type) + " has no file",
                "move the disk to a datastore as an ordinary virtual disk");
  }
  if (backing.type == "VirtualDiskRawDiskMappingVer1BackingInfo" &&
      backing.compatibility_mode == "physicalMode") {
    return none("it is a raw device in physical mode",
                "attach the device to the target by other means, or convert it to a virtual disk");
  }
  const bool delta = backing.parents > 0 || has_delta_name(backing.file) ||
                     backing.type == "VirtualDiskSeSparseBackingInfo";
  std::string obstacle;
  std::string remedy;
  if (!backing.key_id.empty()) {
    obstacle = "it is encrypted";
    remedy = "decrypt the VM's storage policy";
  } else if (delta) {
    obstacle = "its current file is the delta of a snapshot";
    remedy = "delete the VM's snapshots and consolidate its disks";
  } else if (backing.type != "VirtualDiskFlatVer2BackingInfo") {
    obstacle = "backing " + backing.type + " is not a flat file";
    remedy = "migrate the disk to a datastore as thick or thin provisioned";
  }
  if (obstacle.empty()) {
    return {AccessPath::FlatFile, "flat file, read over HTTPS with ranges", {}};
  }
  if (vddk) return {AccessPath::Vddk, obstacle + ", read through VDDK", {}};
  return none(obstacle, remedy + ", or configure VDDK");
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

Result<FlatExtent> flat_extent(const VmdkDescriptor& descriptor, std::uint64_t capacity_bytes) {
  if (descriptor.has_parent()) {
    return unsupported(
        "its descriptor has a parent: the file is the delta of a snapshot; delete the VM's "
        "snapshots and consolidate its disks, or configure VDDK");
  }
  if (descriptor.extents.size() != 1) {
    return unsupported(fmt::format(
        "it is split into {} extents (create type {}); migrate it to another datastore, or "
        "configure VDDK",
        descriptor.extents.size(), descriptor.create_type));
  }
  const VmdkExtent& extent = descriptor.extents.front();
  if (!extent.is_raw() || extent.file_offset != 0) {
    return unsupported(fmt::format(
        "its extent is of type {}, not a flat file; migrate it to another datastore, or configure "
        "VDDK",
        extent.type));
  }
  // A descriptor names its neighbour; anything else would lead out of the VM's directory.
  if (extent.file.empty() || extent.file.find('/') != std::string::npos || extent.file == "..") {
    return unsupported("its extent '" + extent.file + "' does not lie beside its descriptor");
  }
  const std::uint64_t size = extent.length;
  if (size != capacity_bytes) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "its descriptor says {} bytes, the VM {} bytes", size, capacity_bytes);
  }
  return FlatExtent{extent.file, size};
}

DiskEndpoint make_endpoint(const ClientOptions& account, const Session& session, const VmModel& vm,
                           const Device& disk, const FlatFile& file) {
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::HttpRange;
  endpoint.url = file.url;
  endpoint.trust = account.trust;
  endpoint.size_bytes = file.size_bytes;
  endpoint.cookie = session.cookie;
  const auto identify = [&endpoint](std::string name, const std::string& value) {
    if (!value.empty()) endpoint.identity.emplace_back(std::move(name), value);
  };
  identify("vCenter instance", session.content.instance_uuid);
  identify("VM instance uuid", vm.instance_uuid);
  identify("disk uuid", disk.backing.uuid.empty() ? disk_id(vm, disk) : disk.backing.uuid);
  identify("content id", file.content_id);
  identify("change version", vm.change_version);
  identify("file", disk.backing.file);
  identify("file modified", file.modified);
  identify("file bytes", std::to_string(file.size_bytes));
  endpoint.max_connections = session.content.is_vcenter() ? kVcenterConnections : kHostConnections;
  endpoint.request_bytes = kRequestBytes;

  endpoint.vddk.server = account.host;
  endpoint.vddk.user = account.username;
  endpoint.vddk.password = account.password;
  if (account.trust.thumbprint.size() == kSha1Characters) {
    endpoint.vddk.thumbprint = account.trust.thumbprint;
  }
  endpoint.vddk.vm_moref = vm.ref.value;
  endpoint.vddk.file = disk.backing.file;
  return endpoint;
}

}  // namespace vmferry::vmware
