#include "coordinator/provider/ovirt/translate.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "coordinator/provider/ovirt/cpu_models.h"
#include "coordinator/provider/ovirt/time_zones.h"

namespace vmferry::ovirt {
namespace {

std::optional<std::uint64_t> whole_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Firmware firmware_of(const Vm& vm) {
  const std::string type = effective_bios_type(vm);
  if (type == "q35_ovmf") return Firmware::Efi;
  if (type == "q35_secure_boot") return Firmware::EfiSecureBoot;
  if (type == "q35_sea_bios" || type == "i440fx_sea_bios") return Firmware::Bios;
  return Firmware::Unknown;
}

std::string machine_of(const Vm& vm) {
  const std::string custom = vm.custom_emulated_machine.value_or("");
  // KubeVirt has no i440fx.
  if (!custom.empty() && custom.find("i440fx") == std::string::npos) return custom;
  const std::string architecture = vm.cpu.architecture.value_or("");
  if (architecture == "x86_64") return "q35";
  if (architecture == "ppc64") return "pseries";
  return {};
}

std::string serial_of(const Vm& vm) {
  const std::string policy = vm.serial_policy.value_or("");
  if (policy == "vm") return vm.id;
  if (policy == "custom") return vm.serial_value.value_or("");
  return {};
}

// The offset wins over the name; an offset that cannot be read is UTC.
void translate_clock(const Vm& vm, SourceVm& result) {
  if (vm.utc_offset && !vm.utc_offset->empty()) {
    result.utc_offset_seconds = parse_utc_offset(*vm.utc_offset);
  } else if (vm.time_zone_name) {
    result.time_zone = iana_zone(*vm.time_zone_name).value_or("");
  }
}

std::string watchdog_action(const Vm& vm) {
  if (!vm.watchdogs) return {};
  for (const Watchdog& watchdog : *vm.watchdogs) {
    if (watchdog.model.value_or("") != "i6300esb") continue;
    // KubeVirt cannot dump, pause or do nothing; rules.h reports it.
    return watchdog.action.value_or("") == "poweroff" ? "poweroff" : "reset";
  }
  return {};
}

std::string eviction_of(const Vm& vm) {
  if (!vm.affinity || vm.affinity->empty()) return {};
  return *vm.affinity == "migratable" ? "LiveMigrate" : "None";
}

DiskBus bus_of(const DiskAttachment& attachment) {
  const std::string interface = attachment.interface.value_or("");
  if (interface == "virtio_scsi") return DiskBus::Scsi;
  if (interface == "sata") return DiskBus::Sata;
  return DiskBus::Virtio;  // others are blocked by rules.h
}

SourceDisk translate_disk(const DiskAttachment& attachment) {
  SourceDisk result;
  result.attachment_id = attachment.id;
  result.id = attachment.id;
  result.bus = bus_of(attachment);
  result.bootable = attachment.bootable.value_or(false);
  if (result.bootable) result.boot_order = 1;
  result.read_only = attachment.read_only.value_or(false);
  result.active = attachment.active.value_or(true);
  if (!attachment.disk) return result;
  const Disk& disk = *attachment.disk;
  if (!disk.id.empty()) result.id = disk.id;
  result.name = disk.alias;
  result.size_bytes = disk.provisioned_size.value_or(0);
  // total_size is that of the whole chain, actual_size of its last volume.
  result.allocated_bytes = disk.total_size.value_or(0) > 0 ? disk.total_size : disk.actual_size;
  if (!disk.storage_domains.empty()) {
    result.storage_id = disk.storage_domains.front().id;
    result.storage_name = disk.storage_domains.front().name;
  }
  result.shareable = disk.shareable.value_or(false);
  result.status = disk.status.value_or("");
  result.details[std::string(kDetailImageId)] = disk.image_id;
  result.details[std::string(kDetailFormat)] = disk.format.value_or("");
  return result;
}

// What a CD-ROM drive holds becomes a disk of its own, where it can be read like one.
std::optional<SourceDisk> translate_cdrom(const Cdrom& cdrom) {
  if (!cdrom.disk || !why_not_transferable(*cdrom.disk).empty()) return std::nullopt;
  DiskAttachment attachment;
  attachment.id = "cdrom-" + cdrom.id;
  attachment.interface = "sata";
  attachment.disk = cdrom.disk;
  SourceDisk result = translate_disk(attachment);
  result.cdrom = true;
  return result;
}

SourceNic translate_nic(const Nic& nic) {
  SourceNic result;
  result.id = nic.id;
  result.name = nic.name;
  result.mac = nic.mac.value_or("");
  result.model = nic.interface.value_or("");
  result.plugged = nic.plugged.value_or(true);  // DECISION-M4: only an explicit no counts
  result.connected = nic.linked.value_or(true);
  result.has_network = nic.vnic_profile.has_value();
  if (nic.vnic_profile) {
    const VnicProfile& profile = *nic.vnic_profile;
    result.attachment = NicAttachment::VnicProfile;
    result.network_names = {profile.network_name + "/" + profile.name};
    result.network_ids = {profile.id};
    result.sriov = profile.pass_through.value_or("") == "enabled";
  }
  return result;
}

void translate_guest(const Vm& vm, SourceVm& result) {
  result.description = vm.description.value_or("");
  result.comment = vm.comment.value_or("");
  result.host_name = vm.fqdn.value_or("");
  result.guest_distribution = vm.guest_distribution.value_or("");
  result.guest_version = vm.guest_version.value_or("");
  result.os_type = vm.os_type.value_or("");
  result.workload = vm.type.value_or("");
  result.instance_type = vm.instance_type.value_or("");
  result.origin = vm.origin.value_or("");
  result.tags = vm.tags;
  if (vm.sso_methods) result.sso = *vm.sso_methods > 0 ? "guest_agent" : "disabled";
  translate_clock(vm, result);
}

void translate_hardware(const Vm& vm, SourceVm& result) {
  result.cpu_cores = vm.cpu.cores;
  result.cpu_sockets = vm.cpu.sockets;
  result.cpu_threads = vm.cpu.threads;
  result.cpu_model = known_cpu_model(vm.custom_cpu_model.value_or(""));
  result.cpu_dedicated = is_exactly_pinned(vm.cpu);
  result.architecture = vm.cpu.architecture.value_or("");
  result.machine = machine_of(vm);
  result.firmware = firmware_of(vm);
  result.serial = serial_of(vm);
  result.firmware_uuid = vm.id;
  result.memory_bytes = vm.memory.value_or(0);
  for (const Property& property : vm.custom_properties) {
    if (property.name == "hugepages" && !result.hugepages_kib) {
      result.hugepages_kib = whole_number(property.value);
    }
  }
  // A console list that the engine did not show says nothing: keep a screen.
  result.has_graphics = !vm.graphics_consoles || !vm.graphics_consoles->empty();
  result.serial_console = vm.console;
  result.high_availability = vm.high_availability.value_or(false);
  result.live_migratable = vm.affinity.value_or("") == "migratable";
  result.eviction = eviction_of(vm);
  result.has_rng = vm.has_rng;
  result.watchdog_action = watchdog_action(vm);
  result.has_tpm = vm.tpm.value_or(false);
  result.has_sound = vm.soundcard.value_or(false);
  result.io_threads = vm.io_threads.value_or(0) > 0;
  for (const std::string& device : vm.boot_devices) {
    result.boot_devices.push_back(device == "hd" ? "disk" : device);
  }
}

}  // namespace

PowerState power_state_of(std::string_view status) {
  if (status == "up") return PowerState::Up;
  if (status == "down") return PowerState::Down;
  if (status == "suspended" || status == "paused") return PowerState::Suspended;
  constexpr std::string_view kChanging[] = {
      "powering_up",  "powering_down",   "wait_for_launch", "reboot_in_progress",
      "saving_state", "restoring_state", "migrating",       "image_locked"};
  if (std::ranges::find(kChanging, status) != std::end(kChanging)) return PowerState::Changing;
  return PowerState::Unknown;  // unassigned, unknown, not_responding, and words of later engines
}

std::optional<int> parse_utc_offset(std::string_view text) {
  if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') {
    return std::nullopt;
  }
  const std::optional<std::uint64_t> hours = whole_number(text.substr(1, 2));
  const std::optional<std::uint64_t> minutes = whole_number(text.substr(4, 2));
  if (!hours || !minutes) return std::nullopt;
  const int seconds = static_cast<int>((*hours * 60 + *minutes) * 60);
  return text[0] == '-' ? -seconds : seconds;
}

bool is_exactly_pinned(const Cpu& cpu) {
  if (!cpu.pins || cpu.pins->empty()) return false;
  std::set<std::uint64_t> distinct;
  for (const CpuPin& pin : *cpu.pins) {
    if (const std::optional<std::uint64_t> host_cpu = whole_number(pin.cpu_set)) {
      distinct.insert(*host_cpu);
    }
  }
  return distinct.size() == cpu.pins->size();
}

std::string why_not_transferable(const Disk& disk) {
  if (disk.has_lun) return "it is a direct LUN";
  const std::string type = disk.storage_type.value_or("image");
  if (type != "image" && type != "managed_block_storage") {
    return "its storage type is '" + type + "'";
  }
  const std::string content = disk.content_type.value_or("data");
  if (content != "data" && content != "iso") return "its content type is '" + content + "'";
  if (disk.provisioned_size.value_or(0) == 0) return "it has no size";
  if (disk.status.value_or("ok") == "illegal") return "its status is 'illegal'";
  return {};
}

SourceVm translate(const Vm& vm) {
  SourceVm result;
  result.provider = ProviderKind::Ovirt;
  result.id = vm.id;
  result.native_id = vm.id;
  result.name = vm.name;
  result.raw_power = vm.status.value_or("");
  result.power = power_state_of(result.raw_power);
  translate_guest(vm, result);
  translate_hardware(vm, result);
  if (vm.disk_attachments) {
    for (const DiskAttachment& attachment : *vm.disk_attachments) {
      result.disks.push_back(translate_disk(attachment));
    }
    // The engine's order means nothing (source-ovirt.md 2.2).
    std::ranges::sort(result.disks, {}, [](const SourceDisk& disk) {
      return std::make_tuple(!disk.bootable, disk.name, disk.id);
    });
  }
  for (const Cdrom& cdrom : vm.cdroms.value_or(std::vector<Cdrom>())) {
    if (std::optional<SourceDisk> disk = translate_cdrom(cdrom)) {
      result.disks.push_back(*std::move(disk));
    }
  }
  if (vm.nics) {
    for (const Nic& nic : *vm.nics) result.nics.push_back(translate_nic(nic));
  }
  if (vm.cluster) {
    result.inventory_path = vm.cluster->name.empty() ? vm.name : vm.cluster->name + "/" + vm.name;
    result.details.emplace_back("cluster", vm.cluster->name);
  }
  if (vm.stop_time) result.details.emplace_back("stopped at", *vm.stop_time);
  return result;
}

}  // namespace vmferry::ovirt
