#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/provider/vmware/soap.h"

// What is read of a VM, in vSphere's own words (source-vmware.md 2.5). Everything may be missing:
// servers of other versions, rights that lack, devices we have never heard of.
namespace vmferry::vmware {

struct ObjectProperties;

// Where a device gets its content. Which fields are set depends on `type` (an xsi:type).
struct Backing {
  std::string type;
  std::string file;  // "[datastore] dir/name.vmdk"
  MoRef datastore;
  std::string disk_mode;           // persistent, independent_persistent, ...
  std::string uuid;                // of the disk's content, 6000C29...
  std::string content_id;          // CID, changes with the first write after an open
  std::string change_id;           // CBT's position, where that is on
  std::string sharing;             // sharingNone, sharingMultiWriter
  std::string key_id;              // set: encrypted
  std::string compatibility_mode;  // RDM: virtualMode, physicalMode
  int parents = 0;                 // backing.parent's depth: above 0 the file is a delta
  std::string parent_file;         // what it is the delta of, and that one's content id
  std::string parent_content_id;
  // Network cards.
  std::string device_name;  // standard network's name
  MoRef network;
  std::string portgroup_key;      // distributed port
  std::string opaque_network_id;  // NSX
  friend bool operator==(const Backing&, const Backing&) = default;
};

struct Device {
  std::string type;  // xsi:type: VirtualDisk, ParaVirtualSCSIController, VirtualVmxnet3, ...
  int key = 0;
  std::string label;
  int controller_key = 0;
  std::optional<int> unit_number;
  Backing backing;
  // Disks.
  std::uint64_t capacity_bytes = 0;
  std::string disk_object_id;  // "421-2000"; stable over snapshots, absent on simulators
  std::string vdisk_id;        // first-class disk
  std::optional<std::uint64_t> allocated_bytes;
  // Controllers.
  int bus_number = 0;
  std::string shared_bus;  // noSharing, virtualSharing, physicalSharing
  // Network cards.
  std::string mac;
  std::optional<bool> connected, start_connected;
  friend bool operator==(const Device&, const Device&) = default;
};
bool is_disk(const Device& device);
bool is_ethernet_card(const Device& device);
bool is_disk_controller(const Device& device);

// One entry of bootOptions.bootOrder.
struct BootEntry {
  enum class Kind { Disk, Network, Cdrom, Other } kind = Kind::Other;
  int device_key = 0;
  friend bool operator==(const BootEntry&, const BootEntry&) = default;
};

struct VmModel {
  MoRef ref;
  std::string name;  // unescaped
  std::string uuid, instance_uuid, change_version, hardware_version;
  std::string guest_id, guest_full_name, annotation, vmx_file, firmware, key_id;
  bool is_template = false;
  std::optional<bool> secure_boot;
  std::vector<BootEntry> boot_order;
  int cpus = 0, cores_per_socket = 0;
  std::uint64_t memory_mb = 0;
  std::vector<Device> devices;
  bool cpu_hot_add = false, memory_hot_add = false, cpu_affinity = false, nested_hv = false;
  bool fault_tolerance = false, tpm_present = false;
  std::optional<bool> change_tracking;
  std::map<std::string, std::string> extra_config;  // boot order and change tracking keys only
  std::string power_state, connection_state;
  // The newest event of its being started or resumed; empty: none is known. Nothing: the server
  // does not tell its events.
  std::optional<std::string> last_start;
  MoRef host;
  bool consolidation_needed = false;
  std::string question;  // text of the dialog that blocks the VM
  int snapshots = 0;
  std::vector<MoRef> networks;
  std::string host_name, tools_status, tools_running_status, tools_version_status;
  std::string reported_guest_id, reported_guest_full_name;
  std::vector<std::string> tags;
  std::vector<std::string> denied;  // paths that the account may not read
  friend bool operator==(const VmModel&, const VmModel&) = default;
};

// What stands around the VM.
struct NetworkFacts {
  MoRef ref;
  std::string name;       // unescaped
  std::string key;        // distributed port group
  std::string opaque_id;  // opaque network
  friend bool operator==(const NetworkFacts&, const NetworkFacts&) = default;
};
struct Surroundings {
  std::string inventory_path;   // "DC/vm/folder/name", unescaped, for people
  std::string datacenter_path;  // "Folder/DC" as the server escapes it, for dcPath
  std::string host_name;
  std::optional<int> host_utc_offset_seconds;
  std::vector<NetworkFacts> networks;
  friend bool operator==(const Surroundings&, const Surroundings&) = default;
};

// The property paths of VmModel: those of every version since 6.5, and those of some.
const std::vector<std::string>& vm_paths();
const std::vector<std::string>& newer_vm_paths();

// Total: what is not understood is left at its default.
VmModel read_vm(const ObjectProperties& properties);
std::vector<Device> read_devices(pugi::xml_node array);
NetworkFacts read_network(const ObjectProperties& properties);

// "a%2fb%25" -> "a/b%": the server escapes "/", "\" and "%" in names (source-vmware.md 2.3).
std::string unescape_name(std::string_view name);

}  // namespace vmferry::vmware
