#include "common/check.h"
#include "coordinator/imports/names.h"
#include "coordinator/imports/vm_parts.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

std::string_view disk_bus(const BuildInput& input, const SourceDisk& disk) {
  if (disk.cdrom) return "sata";  // a virtio drive is no CD-ROM to any guest
  // A Windows guest that has not been converted stops at boot without a virtio driver.
  if (input.vm.provider == ProviderKind::Vmware && is_windows(input.os) && !input.converted) {
    return "sata";
  }
  switch (disk.bus) {
    case DiskBus::Virtio:
      return "virtio";
    case DiskBus::Scsi:
      return "scsi";
    case DiskBus::Sata:
      return "sata";
  }
  return "virtio";
}

}  // namespace

void build_disks(const BuildInput& input, json& spec) {
  VMFERRY_CHECK(input.claims.size() == input.vm.disks.size());
  json volumes = json::array();
  json disks = json::array();
  for (std::size_t i = 0; i < input.claims.size(); ++i) {
    const std::string& claim = input.claims[i];
    const std::string name = volume_name(claim);
    const SourceDisk& source = input.vm.disks[i];
    json target = {{"bus", disk_bus(input, source)}};
    if (source.read_only && !source.cdrom) target["readonly"] = true;
    disks.push_back({{"name", name}, {source.cdrom ? "cdrom" : "disk", std::move(target)}});
    json volume = {{"name", name}};
    if (input.data_volumes) {
      volume["dataVolume"] = {{"name", claim}};
    } else {
      volume["persistentVolumeClaim"] = {{"claimName", claim}};
    }
    volumes.push_back(std::move(volume));
  }
  spec["volumes"] = std::move(volumes);
  spec["domain"]["devices"]["disks"] = std::move(disks);
}

}  // namespace vmferry::imports
