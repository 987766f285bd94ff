#include <algorithm>

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

// Indexes of the disks to boot from, in order.
std::vector<std::size_t> boot_disks(const SourceVm& vm) {
  std::vector<std::size_t> indexes;
  for (std::size_t i = 0; i < vm.disks.size(); ++i) {
    const SourceDisk& disk = vm.disks[i];
    if (!disk.cdrom && (disk.boot_order || disk.bootable)) indexes.push_back(i);
  }
  // vSphere boots from the first disk unless told otherwise; oVirt marks its disk.
  if (indexes.empty() && vm.provider == ProviderKind::Vmware && !vm.disks.empty()) {
    indexes.push_back(0);
  }
  std::ranges::stable_sort(indexes, {}, [&vm](std::size_t i) {
    return vm.disks[i].boot_order.value_or(vm.disks[i].bootable ? 1 : 0);
  });
  return indexes;
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

void build_boot_order(const SourceVm& vm, json& devices) {
  json& disks = devices["disks"];
  json& interfaces = devices["interfaces"];
  std::vector<std::string> sequence = vm.boot_devices;
  // A bootable disk has its place even where the source's sequence forgets disks.
  if (std::ranges::find(sequence, "disk") == sequence.end()) sequence.emplace_back("disk");

  int order = 1;
  const auto number = [&order](json& device) {
    if (!device.contains("bootOrder")) device["bootOrder"] = order++;  // unique over all devices
  };
  for (const std::string& device : sequence) {
    if (device == "disk") {
      for (const std::size_t index : boot_disks(vm)) number(disks[index]);
    } else if (device == "network" && !interfaces.empty()) {
      number(interfaces.front());
    } else if (device == "cdrom") {
      for (std::size_t i = 0; i < vm.disks.size(); ++i) {
        if (vm.disks[i].cdrom) number(disks[i]);
      }
    }
  }
}

}  // namespace vmferry::imports
