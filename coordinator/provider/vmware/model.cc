#include "coordinator/provider/vmware/model.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "coordinator/provider/vmware/properties.h"

namespace vmferry::vmware {
namespace {

constexpr int kMostParents = 64;  // a chain has at most 32 links
constexpr std::size_t kMostSnapshots = 10'000;

int small_integer(pugi::xml_node node) {
  const std::int64_t value = integer_of(node).value_or(0);
  return static_cast<int>(std::clamp<std::int64_t>(value, std::numeric_limits<int>::min(),
                                                   std::numeric_limits<int>::max()));
}

std::uint64_t positive(pugi::xml_node node) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(integer_of(node).value_or(0), 0));
}

Backing read_backing(pugi::xml_node node) {
  Backing backing;
  if (!node) return backing;
  backing.type = xsi_type(node);
  backing.file = child_text(node, "fileName");
  if (backing.file.empty()) backing.file = child_text(node, "descriptorFileName");
  backing.datastore = moref_of(child(node, "datastore"));
  backing.disk_mode = child_text(node, "diskMode");
  backing.uuid = child_text(node, "uuid");
  backing.content_id = child_text(node, "contentId");
  backing.change_id = child_text(node, "changeId");
  backing.sharing = child_text(node, "sharing");
  const pugi::xml_node key = child(node, "keyId");
  backing.key_id = child_text(key, "keyId");
  if (key && backing.key_id.empty()) backing.key_id = text_of(key).empty() ? "set" : text_of(key);
  backing.compatibility_mode = child_text(node, "compatibilityMode");
  pugi::xml_node parent = child(node, "parent");
  backing.parent_file = child_text(parent, "fileName");
  backing.parent_content_id = child_text(parent, "contentId");
  while (parent && backing.parents < kMostParents) {
    ++backing.parents;
    parent = child(parent, "parent");
  }
  backing.device_name = child_text(node, "deviceName");
  backing.network = moref_of(child(node, "network"));
  backing.portgroup_key = child_text(child(node, "port"), "portgroupKey");
  backing.opaque_network_id = child_text(node, "opaqueNetworkId");
  return backing;
}

Device read_device(pugi::xml_node node) {
  Device device;
  device.type = xsi_type(node);
  if (device.type.empty()) device.type = local_name(node.name());
  device.key = small_integer(child(node, "key"));
  device.label = text_of(descend(node, {"deviceInfo", "label"}));
  device.controller_key = small_integer(child(node, "controllerKey"));
  if (child(node, "unitNumber")) device.unit_number = small_integer(child(node, "unitNumber"));
  device.backing = read_backing(child(node, "backing"));

  device.capacity_bytes = positive(child(node, "capacityInBytes"));
  if (device.capacity_bytes == 0) {
    const std::uint64_t kib = positive(child(node, "capacityInKB"));
    if (kib < (std::uint64_t{1} << 53)) device.capacity_bytes = kib * 1024;
  }
  device.disk_object_id = child_text(node, "diskObjectId");
  device.vdisk_id = text_of(descend(node, {"vDiskId", "id"}));
  device.bus_number = small_integer(child(node, "busNumber"));
  device.shared_bus = child_text(node, "sharedBus");
  device.mac = child_text(node, "macAddress");
  device.connected = boolean_of(descend(node, {"connectable", "connected"}));
  device.start_connected = boolean_of(descend(node, {"connectable", "startConnected"}));
  return device;
}

std::vector<BootEntry> read_boot_order(pugi::xml_node options) {
  std::vector<BootEntry> order;
  for (const pugi::xml_node node : children(options, "bootOrder")) {
    const std::string type = xsi_type(node);
    BootEntry entry;
    if (type == "VirtualMachineBootOptionsBootableDiskDevice") entry.kind = BootEntry::Kind::Disk;
    if (type == "VirtualMachineBootOptionsBootableEthernetDevice") {
      entry.kind = BootEntry::Kind::Network;
    }
    if (type == "VirtualMachineBootOptionsBootableCdromDevice") {
      entry.kind = BootEntry::Kind::Cdrom;
    }
    entry.device_key = small_integer(child(node, "deviceKey"));
    order.push_back(entry);
  }
  return order;
}

int count_snapshots(pugi::xml_node info) {
  std::vector<pugi::xml_node> open = children(info, "rootSnapshotList");
  std::size_t count = 0;
  while (!open.empty() && count < kMostSnapshots) {
    const pugi::xml_node node = open.back();
    open.pop_back();
    ++count;
    for (const pugi::xml_node c : children(node, "childSnapshotList")) open.push_back(c);
  }
  return static_cast<int>(count);
}

// Bytes that each disk's files take on the datastore, deltas included.
void read_allocation(pugi::xml_node layout, std::vector<Device>& devices) {
  std::map<std::string, std::uint64_t> extents;
  for (const pugi::xml_node file : children(layout, "file")) {
    if (child_text(file, "type") != "diskExtent") continue;
    extents[child_text(file, "key")] = positive(child(file, "size"));
  }
  for (const pugi::xml_node disk : children(layout, "disk")) {
    const int key = small_integer(child(disk, "key"));
    const auto device = std::ranges::find_if(
        devices, [key](const Device& d) { return is_disk(d) && d.key == key; });
    if (device == devices.end()) continue;
    std::uint64_t bytes = 0;
    for (const pugi::xml_node link : children(disk, "chain")) {
      for (const pugi::xml_node file : children(link, "fileKey")) {
        const auto extent = extents.find(text_of(file));
        if (extent != extents.end()) bytes += extent->second;
      }
    }
    if (bytes > 0) device->allocated_bytes = std::min(bytes, device->capacity_bytes);
  }
}

bool is_kept(std::string_view key) {
  return key == "bios.bootOrder" || key == "bios.hddOrder" || key.ends_with(".ctkEnabled");
}

}  // namespace

bool is_disk(const Device& device) { return device.type == "VirtualDisk"; }

bool is_ethernet_card(const Device& device) {
  // The schema's subclasses grow from version to version; an address or such a backing tells.
  return !device.mac.empty() || device.backing.type.starts_with("VirtualEthernetCard") ||
         device.type.starts_with("VirtualE1000") || device.type.starts_with("VirtualVmxnet") ||
         device.type == "VirtualPCNet32" || device.type == "VirtualSriovEthernetCard";
}

bool is_disk_controller(const Device& device) {
  return device.type.ends_with("Controller") &&
         (device.type.find("SCSI") != std::string::npos ||
          device.type.find("Logic") != std::string::npos || device.type == "VirtualIDEController" ||
          device.type == "VirtualAHCIController" || device.type == "VirtualSATAController" ||
          device.type == "VirtualNVMEController");
}

const std::vector<std::string>& vm_paths() {
  static const std::vector<std::string> paths = {"name",
                                                 "config.uuid",
                                                 "config.instanceUuid",
                                                 "config.changeVersion",
                                                 "config.template",
                                                 "config.version",
                                                 "config.guestId",
                                                 "config.guestFullName",
                                                 "config.annotation",
                                                 "config.files.vmPathName",
                                                 "config.firmware",
                                                 "config.bootOptions",
                                                 "config.hardware.numCPU",
                                                 "config.hardware.numCoresPerSocket",
                                                 "config.hardware.memoryMB",
                                                 "config.hardware.device",
                                                 "config.cpuHotAddEnabled",
                                                 "config.memoryHotAddEnabled",
                                                 "config.cpuAffinity",
                                                 "config.nestedHVEnabled",
                                                 "config.extraConfig",
                                                 "config.changeTrackingEnabled",
                                                 "config.ftInfo",
                                                 "runtime.powerState",
                                                 "runtime.connectionState",
                                                 "runtime.host",
                                                 "runtime.consolidationNeeded",
                                                 "runtime.question",
                                                 "snapshot",
                                                 "layoutEx",
                                                 "network",
                                                 "guest.hostName",
                                                 "guest.toolsStatus",
                                                 "guest.toolsRunningStatus",
                                                 "guest.toolsVersionStatus2",
                                                 "summary.guest.guestId",
                                                 "summary.guest.guestFullName",
                                                 "tag"};
  return paths;
}

const std::vector<std::string>& newer_vm_paths() {
  static const std::vector<std::string> paths = {"config.keyId", "summary.config.tpmPresent"};
  return paths;
}

std::vector<Device> read_devices(pugi::xml_node array) {
  std::vector<Device> devices;
  for (const pugi::xml_node node : array.children()) {
    if (node.type() == pugi::node_element) devices.push_back(read_device(node));
  }
  return devices;
}

VmModel read_vm(const ObjectProperties& p) {
  VmModel vm;
  vm.ref = p.object;
  vm.name = unescape_name(p.text("name"));
  vm.uuid = p.text("config.uuid");
  vm.instance_uuid = p.text("config.instanceUuid");
  vm.change_version = p.text("config.changeVersion");
  vm.hardware_version = p.text("config.version");
  vm.guest_id = p.text("config.guestId");
  vm.guest_full_name = p.text("config.guestFullName");
  vm.annotation = p.text("config.annotation");
  vm.vmx_file = p.text("config.files.vmPathName");
  vm.firmware = p.text("config.firmware");
  const pugi::xml_node key = p.value("config.keyId");
  vm.key_id = child_text(key, "keyId");
  if (key && vm.key_id.empty()) vm.key_id = "set";
  vm.is_template = boolean_of(p.value("config.template")).value_or(false);
  vm.secure_boot = boolean_of(child(p.value("config.bootOptions"), "efiSecureBootEnabled"));
  vm.boot_order = read_boot_order(p.value("config.bootOptions"));
  vm.cpus = small_integer(p.value("config.hardware.numCPU"));
  vm.cores_per_socket = small_integer(p.value("config.hardware.numCoresPerSocket"));
  vm.memory_mb = positive(p.value("config.hardware.memoryMB"));
  vm.devices = read_devices(p.value("config.hardware.device"));
  read_allocation(p.value("layoutEx"), vm.devices);
  vm.cpu_hot_add = boolean_of(p.value("config.cpuHotAddEnabled")).value_or(false);
  vm.memory_hot_add = boolean_of(p.value("config.memoryHotAddEnabled")).value_or(false);
  vm.cpu_affinity = !children(p.value("config.cpuAffinity"), "affinitySet").empty();
  vm.nested_hv = boolean_of(p.value("config.nestedHVEnabled")).value_or(false);
  vm.fault_tolerance = static_cast<bool>(p.value("config.ftInfo"));
  vm.tpm_present = boolean_of(p.value("summary.config.tpmPresent")).value_or(false);
  vm.change_tracking = boolean_of(p.value("config.changeTrackingEnabled"));
  for (const pugi::xml_node option : p.value("config.extraConfig").children()) {
    const std::string name = child_text(option, "key");
    if (is_kept(name)) vm.extra_config[name] = child_text(option, "value");
  }
  vm.power_state = p.text("runtime.powerState");
  vm.connection_state = p.text("runtime.connectionState");
  if (p.value("runtime.host")) vm.host = moref_of(p.value("runtime.host"));
  vm.consolidation_needed = boolean_of(p.value("runtime.consolidationNeeded")).value_or(false);
  vm.question = child_text(p.value("runtime.question"), "text");
  vm.snapshots = count_snapshots(p.value("snapshot"));
  for (const pugi::xml_node network : p.value("network").children()) {
    if (network.type() == pugi::node_element) vm.networks.push_back(moref_of(network));
  }
  vm.host_name = p.text("guest.hostName");
  vm.tools_status = p.text("guest.toolsStatus");
  vm.tools_running_status = p.text("guest.toolsRunningStatus");
  vm.tools_version_status = p.text("guest.toolsVersionStatus2");
  vm.reported_guest_id = p.text("summary.guest.guestId");
  vm.reported_guest_full_name = p.text("summary.guest.guestFullName");
  for (const pugi::xml_node tag : p.value("tag").children()) {
    const std::string text = child_text(tag, "key");
    if (!text.empty()) vm.tags.push_back(text);
  }
  vm.denied = p.denied;
  return vm;
}

NetworkFacts read_network(const ObjectProperties& p) {
  NetworkFacts facts;
  facts.ref = p.object;
  facts.name = unescape_name(p.text("name"));
  facts.key = p.text("key");
  facts.opaque_id = child_text(p.value("summary"), "opaqueNetworkId");
  return facts;
}

std::string unescape_name(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, char>, 5> kEscapes{
      {{"%2f", '/'}, {"%2F", '/'}, {"%5c", '\\'}, {"%5C", '\\'}, {"%25", '%'}}};
  std::string out;
  out.reserve(name.size());
  while (!name.empty()) {
    const auto escape =
        std::ranges::find_if(kEscapes, [name](const auto& e) { return name.starts_with(e.first); });
    if (escape != kEscapes.end()) {
      out += escape->second;
      name.remove_prefix(escape->first.size());
    } else {
      out += name.front();
      name.remove_prefix(1);
    }
  }
  return out;
}

}  // namespace vmferry::vmware
