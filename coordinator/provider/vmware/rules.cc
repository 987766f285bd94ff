#include "coordinator/provider/vmware/rules.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string>
#include <string_view>

#include "coordinator/provider/vmware/disk_access.h"
#include "coordinator/provider/vmware/translate.h"
#include "coordinator/rules/findings.h"

namespace vmferry::vmware {
namespace {

using rules::Findings;

std::string or_none(const std::string& text) { return text.empty() ? "not reported" : text; }

std::string named(std::string_view what, const std::string& label, int key) {
  return fmt::format("{} '{}'", what, label.empty() ? std::to_string(key) : label);
}

bool is_passthrough(const Device& device) {
  return device.type == "VirtualPCIPassthrough" || device.type == "VirtualUSB" ||
         device.type == "VirtualNVDIMM" || device.type == "VirtualSCSIPassthrough";
}

bool is_known_card(std::string_view type) {
  static constexpr std::string_view kKnown[] = {
      "VirtualE1000",   "VirtualE1000e",       "VirtualVmxnet", "VirtualVmxnet2",
      "VirtualVmxnet3", "VirtualVmxnet3Vrdma", "VirtualPCNet32"};
  return std::ranges::find(kKnown, type) != std::end(kKnown);
}

// Whether the guest can be asked to shut down (validation.md 6, "tools").
void check_tools(const VmModel& vm, bool may_cut_power, Findings& out) {
  if (vm.power_state == "poweredOff" || vm.tools_status == "toolsOk") return;
  if (vm.power_state == "poweredOn" && vm.tools_status == "toolsOld") {
    out.add("vmware.vm.tools_old");
    return;
  }
  if (vm.power_state == "poweredOn" && may_cut_power) {
    out.add("vmware.vm.tools/cut", or_none(vm.tools_status));
    return;
  }
  out.add("vmware.vm.tools", or_none(vm.power_state), or_none(vm.tools_status));
}

void check_state(const VmModel& vm, Findings& out) {
  if (vm.power_state == "suspended") out.add("vmware.vm.power_state");
  if (vm.is_template) out.add("vmware.vm.template");
  if (vm.connection_state != "connected") {
    out.add("vmware.vm.connection_state", or_none(vm.connection_state));
  }
  if (!vm.question.empty()) out.add("vmware.vm.question", vm.question);
  if (vm.fault_tolerance) out.add("vmware.vm.fault_tolerance");
}

// All that is encrypted of its disks is served by somebody else.
bool encrypted_disks_are_elsewhere(const VmModel& vm, const DiskWays& ways) {
  int encrypted = 0, elsewhere = 0;
  for (const Device* disk : ordered_disks(vm)) {
    if (disk->backing.key_id.empty()) continue;
    ++encrypted;
    if (way_of(ways, disk_id(vm, *disk), disk->label) == DiskWay::Elsewhere) ++elsewhere;
  }
  return encrypted > 0 && elsewhere == encrypted;
}

void check_encryption(const VmModel& vm, const ImportTerms& terms, Findings& out) {
  if (!vm.key_id.empty() && terms.vddk) {
    out.add("vmware.vm.encryption/vddk");
  } else if (!vm.key_id.empty() && encrypted_disks_are_elsewhere(vm, terms.ways)) {
    out.add("vmware.vm.encryption/elsewhere");
  } else if (!vm.key_id.empty()) {
    out.add("vmware.vm.encryption");
  }
  const bool tpm = vm.tpm_present || std::ranges::any_of(vm.devices, [](const Device& d) {
                     return d.type == "VirtualTPM";
                   });
  if (tpm) out.add("vmware.vm.encryption/tpm");
}

void check_hardware(const VmModel& vm, Findings& out) {
  if (vm.snapshots > 0) {
    out.add("vmware.vm.snapshots",
            fmt::format("{} snapshot{}", vm.snapshots, vm.snapshots == 1 ? "" : "s"));
  }
  if (vm.consolidation_needed) out.add("vmware.vm.consolidation");
  for (const Device& device : vm.devices) {
    if (!is_passthrough(device)) continue;
    out.add("vmware.vm.passthrough", named("passthrough device", device.label, device.key));
  }
  if (vm.cpu_hot_add || vm.memory_hot_add) out.add("vmware.vm.hotplug");
  if (vm.nested_hv) out.add("vmware.vm.nested");
  if (vm.cpu_affinity) out.add("vmware.vm.affinity");
  if (vm.cpus > 0 && (vm.cores_per_socket <= 0 || vm.cpus % vm.cores_per_socket != 0)) {
    out.add("vmware.vm.cpu_topology", vm.cpus, vm.cores_per_socket);
  }
  if (vm.firmware == "efi" && vm.secure_boot.value_or(false)) out.add("vmware.firmware.secureboot");
  for (const Device& device : vm.devices) {
    if (device.type != "VirtualCdrom" || device.backing.file.empty()) continue;
    out.add("vmware.cdrom", device.backing.file);
  }
  if (!vm.denied.empty()) {
    std::string paths;
    for (const std::string& path : vm.denied) paths += (paths.empty() ? "" : ", ") + path;
    out.add("vmware.api.permission", paths);
  }
}

// The part of a network's name that survives in the target's interface name.
std::string normalised(std::string_view name) {
  std::string out;
  for (const unsigned char c : name) {
    if (std::isalnum(c) != 0 || c == '-') out += static_cast<char>(std::tolower(c));
  }
  return out;
}

void check_nics(const VmModel& vm, Findings& out) {
  std::set<std::string> names;
  for (const Device& device : vm.devices) {
    if (!is_ethernet_card(device)) continue;
    const std::string nic = named("network card", device.label, device.key);
    if (device.type == "VirtualSriovEthernetCard") {
      out.add("vmware.nic.type/sriov", nic);
    } else if (!is_known_card(device.type)) {
      out.add("vmware.nic.type", nic, device.type);
    }
    if (!device.start_connected.value_or(true)) out.add("vmware.nic.connected", nic);
    const std::string& network =
        device.backing.device_name.empty() ? device.label : device.backing.device_name;
    if (!names.insert(normalised(network)).second) {
      out.add("vmware.nic.duplicate_name", nic, network);
    }
  }
}

bool has_shared_bus(const VmModel& vm, const Device& disk) {
  const Device* controller = controller_of(vm, disk);
  return controller != nullptr && !controller->shared_bus.empty() &&
         controller->shared_bus != "noSharing";
}

// Whether and how the provider can read the disk.
void check_way(const Device& disk, const std::string& name, DiskWay wanted, bool vddk,
               Findings& out) {
  const Backing& backing = disk.backing;
  const bool rdm = backing.type.find("RawDisk") != std::string::npos;
  const bool physical = rdm && backing.compatibility_mode != "virtualMode";
  if (physical) {
    out.add("vmware.disk.rdm", name);
  } else if (rdm) {
    out.add("vmware.disk.rdm/virtual", name);
  }
  const AccessChoice access = choose_access(disk, vddk, wanted);
  const bool readable = access.path != AccessPath::None;
  const std::string way =
      access.path == AccessPath::Vddk ? "through VDDK" : "as one stream that cannot be resumed";
  if (!readable && !physical && wanted != DiskWay::Automatic) {
    out.add("vmware.disk.backing/asked", name, to_string(wanted), access.reason, access.remedy);
  } else if (!backing.key_id.empty() && readable) {
    out.add("vmware.vm.encryption/readable-disk", name, way);
  } else if (!backing.key_id.empty()) {
    out.add("vmware.vm.encryption/disk", name);
  } else if (is_delta(disk) && readable) {
    out.add("vmware.disk.snapshot/readable", name, backing.file, way);
  } else if (is_delta(disk)) {  // its base alone would be an older state
    out.add("vmware.disk.snapshot", name, backing.file, access.reason, access.remedy);
  } else if (!readable && !physical) {
    out.add("vmware.disk.backing", name, access.reason, access.remedy);
  } else if (!rdm && backing.type != "VirtualDiskFlatVer2BackingInfo") {
    out.add("vmware.disk.backing/readable", name, backing.type, way);
  }
}

void check_disk(const VmModel& vm, const Device& disk, const ImportTerms& terms, Findings& out) {
  const std::string name = named("disk", disk.label, disk.key);
  const Backing& backing = disk.backing;
  const DiskWay wanted = way_of(terms.ways, disk_id(vm, disk), disk.label);
  // What is served from elsewhere need not be readable here.
  if (wanted != DiskWay::Elsewhere) check_way(disk, name, wanted, terms.vddk, out);
  if (backing.sharing == "sharingMultiWriter" || has_shared_bus(vm, disk)) {
    out.add("vmware.disk.shared", name);
  }
  if (backing.disk_mode.starts_with("independent")) {
    out.add("vmware.disk.mode", name, backing.disk_mode);
  }
  if (disk.capacity_bytes == 0) out.add("vmware.disk.size", name);
}

// "scsi0:0" of a disk, the prefix of its ctkEnabled key.
bool tracks_changes(const VmModel& vm, const Device& disk) {
  const Device* controller = controller_of(vm, disk);
  if (controller == nullptr) return false;
  const std::string place =
      fmt::format("{}:{}.ctkEnabled", controller->bus_number, disk.unit_number.value_or(0));
  for (const auto& [key, value] : vm.extra_config) {
    if (!key.ends_with(place) || (value != "true" && value != "TRUE" && value != "1")) continue;
    const std::string bus = key.substr(0, key.size() - place.size());
    if (bus == "scsi" && controller->type.find("Logic") != std::string::npos) return true;
    if (bus == "scsi" && controller->type.find("SCSI") != std::string::npos) return true;
    if (bus == "sata" && controller->type == "VirtualAHCIController") return true;
    if (bus == "nvme" && controller->type == "VirtualNVMEController") return true;
    if (bus == "ide" && controller->type == "VirtualIDEController") return true;
  }
  return false;
}

}  // namespace

std::vector<Finding> find_problems(const VmModel& vm, const ImportTerms& terms) {
  Findings out;
  check_tools(vm, terms.may_cut_power, out);
  check_state(vm, out);
  check_encryption(vm, terms, out);
  check_hardware(vm, out);
  check_nics(vm, out);
  const std::vector<const Device*> disks = ordered_disks(vm);
  if (disks.empty()) {
    out.add("vmware.disk.exist");
  }
  for (const Device* disk : disks) check_disk(vm, *disk, terms, out);
  return out.take();
}

std::vector<Finding> find_warm_problems(const VmModel& vm) {
  Findings out;
  if (!vm.change_tracking.value_or(false)) {
    out.add("vmware.vm.change_tracking");
  } else if (vm.snapshots > 0) {
    // When tracking was switched on cannot be asked; with snapshots there it proves nothing.
    out.add("vmware.vm.snapshots/warm");
  }
  for (const Device* disk : ordered_disks(vm)) {
    const std::string name = named("disk", disk->label, disk->key);
    if (disk->backing.disk_mode.starts_with("independent")) {
      out.add("vmware.disk.mode/warm", name);
    }
    if (!tracks_changes(vm, *disk)) out.add("vmware.disk.cbt", name);
  }
  return out.take();
}

std::vector<Finding> find_connection_problems(bool has_thumbprint) {
  Findings out;
  if (!has_thumbprint) out.add("vmware.api.thumbprint");
  return out.take();
}

}  // namespace vmferry::vmware
