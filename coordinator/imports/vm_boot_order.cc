#include <algorithm>

#include "coordinator/imports/vm_parts.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

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

// The same of interfaces: those that the source names, else the first.
std::vector<std::size_t> boot_interfaces(const std::vector<const SourceNic*>& nics) {
  std::vector<std::size_t> indexes;
  for (std::size_t i = 0; i < nics.size(); ++i) {
    if (nics[i]->boot_order) indexes.push_back(i);
  }
  std::ranges::stable_sort(indexes, {}, [&nics](std::size_t i) { return *nics[i]->boot_order; });
  if (indexes.empty() && !nics.empty()) indexes.push_back(0);
  return indexes;
}

}  // namespace

void build_boot_order(const BuildInput& input, json& devices) {
  const SourceVm& vm = input.vm;
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
    } else if (device == "network") {
      for (const std::size_t index : boot_interfaces(target_nics(input))) number(interfaces[index]);
    } else if (device == "cdrom") {
      for (std::size_t i = 0; i < vm.disks.size(); ++i) {
        if (vm.disks[i].cdrom) number(disks[i]);
      }
    }
  }
}

}  // namespace vmferry::imports
