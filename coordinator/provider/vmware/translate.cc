#include "coordinator/provider/vmware/translate.h"

#include <algorithm>
#include <cctype>
#include <tuple>
#include <utility>

#include "common/bytes.h"

namespace vmferry::vmware {
namespace {

// KubeVirt boots Windows from virtio only with drivers that nothing has installed on VMware; SATA
// and e1000e are in every Windows since 7. Other guests have virtio in their kernel
// (mapping-vmware.md 6.3, 5).
DiskBus bus_for(const VmModel& vm) { return is_windows(vm) ? DiskBus::Sata : DiskBus::Virtio; }
std::string_view nic_model_for(const VmModel& vm) { return is_windows(vm) ? "e1000e" : "virtio"; }

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool is_linux(const VmModel& vm) {
  const std::string id = lower(vm.guest_id);
  static constexpr std::string_view kFamilies[] = {
      "linux",  "rhel",  "centos", "fedora",  "debian", "ubuntu", "sles",   "suse",
      "oracle", "rocky", "alma",   "asianux", "coreos", "photon", "amazon", "crx"};
  return std::ranges::any_of(kFamilies,
                             [&id](std::string_view f) { return id.find(f) != std::string::npos; });
}

Firmware firmware_of(const VmModel& vm) {
  if (vm.firmware != "efi") return Firmware::Bios;
  return vm.secure_boot.value_or(false) ? Firmware::EfiSecureBoot : Firmware::Efi;
}

std::string controller_text(const VmModel& vm, const Device& disk) {
  const Device* controller = controller_of(vm, disk);
  if (controller == nullptr) return "unknown";
  return fmt::format("{} {}:{}", controller->type, controller->bus_number,
                     disk.unit_number.value_or(0));
}

// The name of a disk in bios.hddOrder: "scsi0:0", "sata1:3".
std::string order_name(const VmModel& vm, const Device& disk) {
  const Device* controller = controller_of(vm, disk);
  if (controller == nullptr) return {};
  std::string_view bus = "scsi";
  if (controller->type == "VirtualIDEController") bus = "ide";
  if (controller->type == "VirtualAHCIController") bus = "sata";
  if (controller->type == "VirtualNVMEController") bus = "nvme";
  return fmt::format("{}{}:{}", bus, controller->bus_number, disk.unit_number.value_or(0));
}

const Device* boot_disk(const VmModel& vm, const std::vector<const Device*>& disks) {
  for (const BootEntry& entry : vm.boot_order) {
    if (entry.kind != BootEntry::Kind::Disk) continue;
    const auto disk = std::ranges::find(disks, entry.device_key, &Device::key);
    if (disk != disks.end()) return *disk;
  }
  const auto listed = vm.extra_config.find("bios.hddOrder");
  if (listed != vm.extra_config.end()) {
    const std::string first = lower(listed->second.substr(0, listed->second.find(',')));
    for (const Device* disk : disks) {
      if (order_name(vm, *disk) == first) return disk;
    }
  }
  return disks.empty() ? nullptr : disks.front();
}

std::vector<std::string> boot_devices(const VmModel& vm) {
  std::vector<std::string> order;
  for (const BootEntry& entry : vm.boot_order) {
    const char* name = entry.kind == BootEntry::Kind::Disk      ? "disk"
                       : entry.kind == BootEntry::Kind::Network ? "network"
                       : entry.kind == BootEntry::Kind::Cdrom   ? "cdrom"
                                                                : nullptr;
    if (name != nullptr && std::ranges::find(order, name) == order.end()) order.emplace_back(name);
  }
  return order;
}

SourceDisk translate_disk(const VmModel& vm, const Surroundings& around, const Device& device) {
  SourceDisk disk;
  disk.id = disk_id(vm, device);
  disk.attachment_id = std::to_string(device.key);
  disk.name = device.label;
  disk.size_bytes = device.capacity_bytes;
  disk.allocated_bytes = device.allocated_bytes;
  disk.storage_id = device.backing.datastore.value;
  disk.storage_name = datastore_of(device.backing.file);
  disk.file = device.backing.file;
  disk.bus = bus_for(vm);
  const Device* controller = controller_of(vm, device);
  disk.shareable = device.backing.sharing == "sharingMultiWriter" ||
                   (controller != nullptr && !controller->shared_bus.empty() &&
                    controller->shared_bus != "noSharing");
  disk.details[std::string(kDetailController)] = controller_text(vm, device);
  disk.details[std::string(kDetailDatacenter)] = around.datacenter_path;
  disk.details[std::string(kDetailBacking)] = device.backing.type;
  disk.details[std::string(kDetailUuid)] = device.backing.uuid;
  return disk;
}

std::vector<SourceDisk> translate_disks(const VmModel& vm, const Surroundings& around) {
  std::vector<SourceDisk> disks;
  for (const Device* device : ordered_disks(vm)) {
    disks.push_back(translate_disk(vm, around, *device));
  }
  if (disks.empty()) return disks;
  disks.front().bootable = true;
  int place = 0;
  for (const BootEntry& entry : vm.boot_order) {
    if (entry.kind != BootEntry::Kind::Disk) continue;
    const auto disk =
        std::ranges::find(disks, std::to_string(entry.device_key), &SourceDisk::attachment_id);
    if (disk != disks.end() && !disk->boot_order) disk->boot_order = ++place;
  }
  if (place == 0) disks.front().boot_order = 1;
  return disks;
}

void add_unless_empty(std::vector<std::string>& list, const std::string& text) {
  if (!text.empty() && std::ranges::find(list, text) == list.end()) list.push_back(text);
}

// Names and ids by kind of backing (mapping-vmware.md 5).
void attach(SourceNic& nic, const Device& device, const Surroundings& around) {
  const Backing& backing = device.backing;
  const auto network = std::ranges::find_if(around.networks, [&backing](const NetworkFacts& f) {
    return (!backing.network.empty() && f.ref == backing.network) ||
           (!backing.portgroup_key.empty() && f.key == backing.portgroup_key) ||
           (!backing.opaque_network_id.empty() && f.opaque_id == backing.opaque_network_id);
  });
  const NetworkFacts facts = network == around.networks.end() ? NetworkFacts{} : *network;

  if (backing.type == "VirtualEthernetCardDistributedVirtualPortBackingInfo") {
    nic.attachment = NicAttachment::Distributed;
    add_unless_empty(nic.network_names, device.label);
    add_unless_empty(nic.network_names, facts.name);
    add_unless_empty(nic.network_ids, backing.portgroup_key);
  } else if (backing.type == "VirtualEthernetCardOpaqueNetworkBackingInfo") {
    nic.attachment = NicAttachment::Opaque;
    add_unless_empty(nic.network_names, facts.name);
    add_unless_empty(nic.network_names, device.label);
    add_unless_empty(nic.network_ids, backing.opaque_network_id);
  } else if (!backing.device_name.empty() || !backing.network.empty()) {
    nic.attachment = NicAttachment::Standard;
    add_unless_empty(nic.network_names, unescape_name(backing.device_name));
    add_unless_empty(nic.network_names, facts.name);
    add_unless_empty(nic.network_ids, backing.network.value);
  } else {
    add_unless_empty(nic.network_names, device.label);
  }
  add_unless_empty(nic.network_ids, facts.ref.value);
}

std::vector<SourceNic> translate_nics(const VmModel& vm, const Surroundings& around) {
  std::vector<SourceNic> nics;
  for (const Device& device : vm.devices) {
    if (!is_ethernet_card(device)) continue;
    SourceNic nic;
    nic.id = std::to_string(device.key);
    nic.name = device.label;
    nic.mac = lower(device.mac);
    nic.model = nic_model_for(vm);
    // An SR-IOV card becomes a virtual one, with a warning (mapping-vmware.md 5).
    nic.sriov = false;
    nic.has_network = !device.backing.type.empty();
    // "connected" is about now and always false while the VM is off.
    nic.connected = vm.power_state == "poweredOn"
                        ? device.connected.value_or(true)
                        : device.start_connected.value_or(device.connected.value_or(true));
    attach(nic, device, around);
    nics.push_back(std::move(nic));
  }
  int place = 0;
  for (const BootEntry& entry : vm.boot_order) {
    if (entry.kind != BootEntry::Kind::Network) continue;
    const auto nic = std::ranges::find(nics, std::to_string(entry.device_key), &SourceNic::id);
    if (nic != nics.end() && !nic->boot_order) nic->boot_order = ++place;
  }
  return nics;
}

void translate_cpus(const VmModel& vm, SourceVm& out) {
  if (vm.cpus <= 0) return;
  const auto cpus = static_cast<std::uint32_t>(vm.cpus);
  const auto cores = static_cast<std::uint32_t>(std::max(vm.cores_per_socket, 0));
  // A remainder would lose processors, zero would divide by it: then one core a socket.
  const bool fits = cores > 0 && cpus % cores == 0;
  out.cpu_cores = fits ? cores : 1;
  out.cpu_sockets = fits ? cpus / cores : cpus;
  out.cpu_threads = std::nullopt;
}

std::optional<int> clock_offset(const VmModel& vm, const Surroundings& around) {
  // Linux keeps its hardware clock in UTC, whatever zone the host is set to (mapping-vmware.md 4).
  if (is_linux(vm)) return std::nullopt;
  return around.host_utc_offset_seconds;
}

std::vector<std::pair<std::string, std::string>> vm_details(const VmModel& vm,
                                                            const Surroundings& around) {
  std::vector<std::pair<std::string, std::string>> details;
  const auto add = [&details](std::string_view name, const std::string& value) {
    if (!value.empty()) details.emplace_back(name, value);
  };
  add("moref", vm.ref.value);
  add("instance uuid", vm.instance_uuid);
  add("hardware version", vm.hardware_version);
  add("configuration file", vm.vmx_file);
  add("host", around.host_name);
  add("tools", vm.tools_status);
  add("snapshots", std::to_string(vm.snapshots));
  add("change tracking", vm.change_tracking.value_or(false) ? "on" : "off");
  return details;
}

}  // namespace

PowerState power_state_of(std::string_view word) {
  if (word == "poweredOn") return PowerState::Up;
  if (word == "poweredOff") return PowerState::Down;
  if (word == "suspended") return PowerState::Suspended;
  return PowerState::Unknown;
}

bool is_windows(const VmModel& vm) {
  const std::string id = lower(vm.guest_id);
  const std::string name = lower(vm.guest_full_name);
  return id.starts_with("win") || name.find("windows") != std::string::npos;
}

const Device* controller_of(const VmModel& vm, const Device& device) {
  const auto it = std::ranges::find_if(vm.devices, [&device](const Device& d) {
    return d.key == device.controller_key && is_disk_controller(d);
  });
  return it == vm.devices.end() ? nullptr : &*it;
}

std::vector<const Device*> ordered_disks(const VmModel& vm) {
  std::vector<std::tuple<std::size_t, int, std::size_t, const Device*>> placed;
  for (std::size_t at = 0; at < vm.devices.size(); ++at) {
    const Device& device = vm.devices[at];
    if (!is_disk(device)) continue;
    const Device* controller = controller_of(vm, device);
    const std::size_t rank = controller == nullptr
                                 ? vm.devices.size()
                                 : static_cast<std::size_t>(controller - vm.devices.data());
    placed.emplace_back(rank, device.unit_number.value_or(0), at, &device);
  }
  std::ranges::sort(placed);
  std::vector<const Device*> disks;
  for (const auto& place : placed) disks.push_back(std::get<3>(place));
  const auto first = std::ranges::find(disks, boot_disk(vm, disks));
  if (first != disks.end()) std::rotate(disks.begin(), first, first + 1);
  return disks;
}

std::string disk_id(const VmModel& vm, const Device& disk) {
  if (!disk.vdisk_id.empty()) return disk.vdisk_id;
  if (!disk.disk_object_id.empty()) return disk.disk_object_id;
  return vm.ref.value + "-" + std::to_string(disk.key);
}

std::string datastore_of(std::string_view file) {
  if (!file.starts_with('[')) return {};
  const auto end = file.find(']');
  return end == std::string_view::npos ? std::string() : std::string(file.substr(1, end - 1));
}

std::string path_of(std::string_view file) {
  const auto end = file.starts_with('[') ? file.find(']') : std::string_view::npos;
  if (end == std::string_view::npos) return {};
  file.remove_prefix(end + 1);
  while (file.starts_with(' ')) file.remove_prefix(1);
  return std::string(file);
}

SourceVm translate(const VmModel& vm, const Surroundings& around) {
  SourceVm out;
  out.provider = ProviderKind::Vmware;
  out.id = vm.uuid;
  out.native_id = vm.ref.value;
  out.name = vm.name;
  out.inventory_path = around.inventory_path;
  out.power = power_state_of(vm.power_state);
  out.raw_power = vm.power_state;

  out.description = vm.annotation;
  out.host_name = vm.host_name;
  out.os_type = vm.guest_id;
  out.os_type_reported = vm.reported_guest_id;
  out.os_full_name = vm.guest_full_name.empty() ? vm.reported_guest_full_name : vm.guest_full_name;
  out.tags = vm.tags;

  translate_cpus(vm, out);
  out.architecture = lower(vm.guest_id).starts_with("arm") ? "arm64" : "x86_64";
  out.machine = "q35";
  out.firmware = firmware_of(vm);
  out.serial = vm.instance_uuid;
  out.firmware_uuid = vm.uuid;
  out.memory_bytes = vm.memory_mb < (std::uint64_t{1} << 40) ? vm.memory_mb * kMiB : 0;
  out.utc_offset_seconds = clock_offset(vm, around);
  const auto has = [&vm](std::string_view type) {
    return std::ranges::find(vm.devices, type, &Device::type) != vm.devices.end();
  };
  out.nested_virtualization = vm.nested_hv;
  out.has_tpm = vm.tpm_present || has("VirtualTPM");
  out.has_sound = has("VirtualHdAudioCard") || has("VirtualSoundCard") ||
                  has("VirtualEnsoniq1371") || has("VirtualSoundBlaster16");
  out.boot_devices = boot_devices(vm);
  out.disks = translate_disks(vm, around);
  out.nics = translate_nics(vm, around);
  out.details = vm_details(vm, around);
  return out;
}

}  // namespace vmferry::vmware
