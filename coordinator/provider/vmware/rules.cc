#include "coordinator/provider/vmware/rules.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "coordinator/provider/vmware/disk_access.h"
#include "coordinator/provider/vmware/translate.h"

namespace vmferry::vmware {
namespace {

class Findings {
 public:
  void mapping(FindingLevel level, std::string rule, std::string text, std::string remedy) {
    add(FindingGroup::Mapping, level, std::move(rule), std::move(text), std::move(remedy));
  }
  void rules(FindingLevel level, std::string rule, std::string text, std::string remedy) {
    add(FindingGroup::Rules, level, std::move(rule), std::move(text), std::move(remedy));
  }
  std::vector<Finding> take() { return std::move(list_); }

 private:
  void add(FindingGroup group, FindingLevel level, std::string rule, std::string text,
           std::string remedy) {
    list_.push_back({std::move(rule), level, group, std::move(text), std::move(remedy)});
  }
  std::vector<Finding> list_;
};

constexpr FindingLevel kLog = FindingLevel::Log;
constexpr FindingLevel kWarn = FindingLevel::Warn;
constexpr FindingLevel kBlock = FindingLevel::Block;

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
    out.rules(kWarn, "vmware.vm.tools_old", "VMware Tools in the guest are out of date",
              "the shutdown works; update the tools if it does not");
    return;
  }
  if (vm.power_state == "poweredOn" && may_cut_power) {
    out.rules(kWarn, "vmware.vm.tools",
              fmt::format("the tools status is {}: the guest cannot be asked to shut down, so its "
                          "power is cut as the import allows",
                          or_none(vm.tools_status)),
              "shut the VM down by hand before that");
    return;
  }
  out.mapping(kBlock, "vmware.vm.tools",
              fmt::format("the VM is {} and its tools status is {}: it must be off, or have "
                          "current tools running so that it can be shut down",
                          or_none(vm.power_state), or_none(vm.tools_status)),
              "shut the VM down, start VMware Tools in the guest, or let the import cut its power "
              "with the annotation vmimport.v2v.kubevirt.io/power-off-after");
}

void check_state(const VmModel& vm, Findings& out) {
  if (vm.power_state == "suspended") {
    out.rules(kBlock, "vmware.vm.power_state", "the VM is suspended: its memory would be lost",
              "resume it and shut it down");
  }
  if (vm.is_template) {
    out.rules(kBlock, "vmware.vm.template", "the VM is a template",
              "deploy a VM from it, or convert it to a VM, and import that");
  }
  if (vm.connection_state != "connected") {
    out.rules(kBlock, "vmware.vm.connection_state",
              fmt::format("the VM's connection state is {}", or_none(vm.connection_state)),
              "bring its host and datastore back, or register it again");
  }
  if (!vm.question.empty()) {
    out.rules(kWarn, "vmware.vm.question", "the VM waits for an answer: " + vm.question,
              "answer it in the vSphere client; until then the VM neither starts nor stops");
  }
  if (vm.fault_tolerance) {
    out.rules(kBlock, "vmware.vm.fault_tolerance", "fault tolerance is on",
              "turn fault tolerance off for this VM");
  }
}

void check_encryption(const VmModel& vm, bool vddk, Findings& out) {
  if (!vm.key_id.empty()) {
    // VDDK decrypts what the account may decrypt.
    out.rules(vddk ? kWarn : kBlock, "vmware.vm.encryption", "the VM is encrypted",
              "set the VM's storage policy to one without encryption");
  }
  const bool tpm = vm.tpm_present || std::ranges::any_of(vm.devices, [](const Device& d) {
                     return d.type == "VirtualTPM";
                   });
  if (tpm) {
    out.rules(kWarn, "vmware.vm.encryption", "the virtual TPM's content is not taken along",
              "suspend BitLocker or export its recovery key before the import");
  }
}

void check_hardware(const VmModel& vm, Findings& out) {
  if (vm.snapshots > 0) {
    out.rules(kWarn, "vmware.vm.snapshots",
              fmt::format("the VM has {} snapshot{}: only its current state is imported",
                          vm.snapshots, vm.snapshots == 1 ? "" : "s"),
              "delete the snapshots");
  }
  if (vm.consolidation_needed) {
    out.rules(kWarn, "vmware.vm.consolidation", "the VM's disks need consolidation",
              "consolidate the disks in the vSphere client");
  }
  for (const Device& device : vm.devices) {
    if (!is_passthrough(device)) continue;
    out.rules(kWarn, "vmware.vm.passthrough",
              named("passthrough device", device.label, device.key) + " is left out",
              "attach a device to the target VM afterwards");
  }
  if (vm.cpu_hot_add || vm.memory_hot_add) {
    out.rules(kLog, "vmware.vm.hotplug", "hot-add of processors or memory is not taken over", "");
  }
  if (vm.cpu_affinity) {
    out.rules(kLog, "vmware.vm.affinity", "processor affinity to the host is not taken over", "");
  }
  if (vm.cpus > 0 && (vm.cores_per_socket <= 0 || vm.cpus % vm.cores_per_socket != 0)) {
    out.rules(kWarn, "vmware.vm.cpu_topology",
              fmt::format("{} processors do not divide into sockets of {} cores: the target gets "
                          "{} sockets of one core",
                          vm.cpus, vm.cores_per_socket, vm.cpus),
              "set cores per socket to a divisor of the number of processors");
  }
  if (vm.firmware == "efi" && vm.secure_boot.value_or(false)) {
    out.rules(kLog, "vmware.firmware.secureboot", "secure boot stays on in the target", "");
  }
  for (const Device& device : vm.devices) {
    if (device.type != "VirtualCdrom" || device.backing.file.empty()) continue;
    out.rules(kLog, "vmware.cdrom", "CD image " + device.backing.file + " is left out", "");
  }
  if (!vm.denied.empty()) {
    std::string paths;
    for (const std::string& path : vm.denied) paths += (paths.empty() ? "" : ", ") + path;
    out.rules(kWarn, "vmware.api.permission", "the account may not read " + paths,
              "give the account the System.Read privilege on the VM and its host");
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
      out.rules(kWarn, "vmware.nic.type", nic + " is an SR-IOV card: it becomes a virtual one",
                "attach an SR-IOV network to the target VM afterwards if it needs one");
    } else if (!is_known_card(device.type)) {
      out.rules(kWarn, "vmware.nic.type",
                nic + " is of the unknown type " + device.type + ": it becomes a virtual one",
                "check the target VM's network");
    }
    if (!device.start_connected.value_or(true)) {
      out.rules(kLog, "vmware.nic.connected", nic + " is not connected at power on", "");
    }
    const std::string& network =
        device.backing.device_name.empty() ? device.label : device.backing.device_name;
    if (!names.insert(normalised(network)).second) {
      out.rules(kLog, "vmware.nic.duplicate_name",
                nic + " shares the name '" + network + "' with another: its interface is renamed",
                "");
    }
  }
}

bool has_shared_bus(const VmModel& vm, const Device& disk) {
  const Device* controller = controller_of(vm, disk);
  return controller != nullptr && !controller->shared_bus.empty() &&
         controller->shared_bus != "noSharing";
}

void check_disk(const VmModel& vm, const Device& disk, bool vddk, Findings& out) {
  const std::string name = named("disk", disk.label, disk.key);
  const Backing& backing = disk.backing;
  const bool rdm = backing.type.find("RawDisk") != std::string::npos;
  if (rdm && backing.compatibility_mode != "virtualMode") {
    out.rules(kBlock, "vmware.disk.rdm", name + " is a raw device in physical mode",
              "attach the device to the target by other means, or convert it to a virtual disk");
  } else if (rdm) {
    out.rules(kWarn, "vmware.disk.rdm", name + " is a raw device in virtual mode",
              "migrate the VM's storage to convert it to a virtual disk");
  }
  const AccessChoice access = choose_access(disk, vddk);
  const bool readable = access.path != AccessPath::None;
  const FindingLevel level = readable ? kWarn : kBlock;
  const std::string way =
      access.path == AccessPath::Vddk ? "through VDDK" : "as one stream that cannot be resumed";
  if (!backing.key_id.empty()) {
    out.rules(level, "vmware.vm.encryption",
              name + " is encrypted" + (readable ? ": it is read " + way : ""),
              "set the disk's storage policy to one without encryption");
  } else if (is_delta(disk)) {
    // Its base alone would be an older state.
    out.rules(
        level, "vmware.disk.snapshot",
        name + " is the delta of a snapshot (" + backing.file + ")" +
            (readable ? ": its current content is read " + way : ": " + access.reason),
        readable ? "delete the snapshots and consolidate, to read the flat file" : access.remedy);
  } else if (!readable && (!rdm || backing.compatibility_mode == "virtualMode")) {
    out.rules(kBlock, "vmware.disk.backing", name + " cannot be read: " + access.reason,
              access.remedy);
  } else if (!rdm && backing.type != "VirtualDiskFlatVer2BackingInfo") {
    out.rules(level, "vmware.disk.backing",
              name + " has the backing " + backing.type + ", no flat file: it is read " + way,
              "migrate the disk to a datastore as thick or thin provisioned");
  }
  if (backing.sharing == "sharingMultiWriter" || has_shared_bus(vm, disk)) {
    out.rules(kBlock, "vmware.disk.shared",
              name + " is shared with other VMs, which may write while it is copied",
              "stop the others and remove multi-writer or bus sharing from this VM");
  }
  if (backing.disk_mode.starts_with("independent")) {
    out.rules(kWarn, "vmware.disk.mode",
              name + " is independent (" + backing.disk_mode + "): snapshots leave it out",
              "nothing for a cold import");
  }
  if (disk.capacity_bytes == 0) {
    out.rules(kBlock, "vmware.disk.size", name + " has no capacity",
              "remove the disk or repair it");
  }
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

std::vector<Finding> find_problems(const VmModel& vm, bool vddk, bool may_cut_power) {
  Findings out;
  check_tools(vm, may_cut_power, out);
  check_state(vm, out);
  check_encryption(vm, vddk, out);
  check_hardware(vm, out);
  check_nics(vm, out);
  const std::vector<const Device*> disks = ordered_disks(vm);
  if (disks.empty()) {
    out.rules(kBlock, "vmware.disk.exist", "the VM has no virtual disk",
              "there is nothing to import; choose another VM");
  }
  for (const Device* disk : disks) check_disk(vm, *disk, vddk, out);
  return out.take();
}

std::vector<Finding> find_warm_problems(const VmModel& vm) {
  Findings out;
  if (!vm.change_tracking.value_or(false)) {
    out.mapping(kBlock, "vmware.vm.change_tracking",
                "changed block tracking is off and needed for a warm import",
                "set ctkEnabled for the VM while it has no snapshots");
  } else if (vm.snapshots > 0) {
    // When tracking was switched on cannot be asked; with snapshots there it proves nothing.
    out.rules(kBlock, "vmware.vm.snapshots",
              "the VM has snapshots: changed block tracking may be younger than they are",
              "delete the snapshots");
  }
  for (const Device* disk : ordered_disks(vm)) {
    const std::string name = named("disk", disk->label, disk->key);
    if (disk->backing.disk_mode.starts_with("independent")) {
      out.rules(kBlock, "vmware.disk.mode", name + " is independent: it has no tracked changes",
                "make it dependent, or import cold");
    }
    if (!tracks_changes(vm, *disk)) {
      out.rules(kBlock, "vmware.disk.cbt", name + " does not track its changes",
                "set ctkEnabled for the disk");
    }
  }
  return out.take();
}

std::vector<Finding> find_connection_problems(bool has_thumbprint) {
  Findings out;
  if (!has_thumbprint) {
    out.rules(kWarn, "vmware.api.thumbprint",
              "the credentials secret has no thumbprint: reading through VDDK needs one",
              "add thumbprint, the SHA-1 digest of the server's certificate");
  }
  return out.take();
}

void mark_untransferable(const VmModel& vm, bool vddk, SourceVm& out) {
  for (const Device& device : vm.devices) {
    if (!is_disk(device)) continue;
    Findings findings;
    check_disk(vm, device, vddk, findings);
    const std::vector<Finding> found = findings.take();
    const bool blocked = std::ranges::find(found, kBlock, &Finding::level) != found.end();
    const auto disk =
        std::ranges::find(out.disks, std::to_string(device.key), &SourceDisk::attachment_id);
    if (disk != out.disks.end() && blocked) disk->transferable = false;
  }
}

}  // namespace vmferry::vmware
