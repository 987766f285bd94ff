#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The neutral description of a virtual machine at its source. Providers fill it; validation,
// mapping and building read nothing else. Absent means that the source said nothing.
namespace vmferry {

enum class ProviderKind { Ovirt, Vmware };
std::string_view to_string(ProviderKind kind);  // "ovirt", "vmware"

enum class FindingLevel { Log, Warn, Block };
std::string_view to_string(FindingLevel level);

// Which condition a finding belongs to (validation.md 1).
enum class FindingGroup { Mapping, Rules };

// One raised check: rule id of validation.md, level, and a text with the value that raised it.
struct Finding {
  std::string rule;  // "vm.usb", "vmware.disk.rdm"
  FindingLevel level = FindingLevel::Log;
  FindingGroup group = FindingGroup::Rules;
  std::string text;
  std::string remedy;
  friend bool operator==(const Finding&, const Finding&) = default;
};

enum class PowerState { Up, Down, Suspended, Changing, Unknown };
std::string_view to_string(PowerState state);

enum class Firmware { Unknown, Bios, Efi, EfiSecureBoot };
enum class DiskBus { Virtio, Scsi, Sata };
enum class NicAttachment { Standard, Distributed, Opaque, VnicProfile, None };

// How a VMware disk is to be read. Elsewhere: from a server that the import names.
enum class DiskWay { Automatic, FlatFile, Vddk, ExportLease, Elsewhere };
// "automatic", "https", "vddk", "export", "elsewhere"
std::string_view to_string(DiskWay way);

// The ways that an import asks for, by disk id or name; "*": all others.
using DiskWays = std::map<std::string, DiskWay>;
DiskWay way_of(const DiskWays& ways, const std::string& disk_id, const std::string& disk_name);

struct SourceDisk {
  std::string id;  // what diskMappings match: oVirt disk id; VMware vDiskId or diskObjectId
  std::string attachment_id;     // oVirt: attachment id; VMware: device key
  std::string name;              // oVirt: alias; VMware: device label ("Hard disk 1")
  std::uint64_t size_bytes = 0;  // virtual size
  std::optional<std::uint64_t> allocated_bytes;  // on the source, where known
  std::string storage_id;                        // storage domain id; datastore MoRef
  std::string storage_name;
  std::string file;  // VMware: "[ds] dir/disk.vmdk" of the current backing
  DiskBus bus = DiskBus::Virtio;
  bool bootable = false;
  std::optional<int> boot_order;  // from the source's boot sequence, 1 first
  bool read_only = false;
  bool shareable = false;
  bool active = true;
  bool cdrom = false;  // the image in a CD-ROM drive: attached as one, never written to
  std::string status;  // oVirt: ok, locked, illegal; else empty
  DiskWay way = DiskWay::Automatic;  // set by whoever opens the disk: how it is to be read
  std::map<std::string, std::string> details;  // provider's own, for open_disk
  friend bool operator==(const SourceDisk&, const SourceDisk&) = default;
};

struct SourceNic {
  std::string id;
  std::string name;  // oVirt: nic name; VMware: device label ("Network adapter 1")
  std::string mac;
  std::string model;    // KubeVirt's word: virtio, e1000, e1000e, rtl8139; or the source's
  bool plugged = true;  // false only when explicitly unplugged
  bool connected = true;
  NicAttachment attachment = NicAttachment::None;
  // The names and ids under which a networkMappings item may name its network, each in order:
  // oVirt: {"network/profile"}, {profile id}; VMware: {network name or label}, {MoRef or key}.
  std::vector<std::string> network_names;
  std::vector<std::string> network_ids;
  bool has_network = true;  // oVirt: it has a vNIC profile; VMware: it has a backing
  bool sriov = false;
  std::optional<int> boot_order;  // among NICs that the source's boot sequence names, 1 first
  friend bool operator==(const SourceNic&, const SourceNic&) = default;
};

struct SourceVm {
  ProviderKind provider = ProviderKind::Vmware;
  std::string id;         // oVirt id; VMware BIOS uuid
  std::string native_id;  // oVirt id; VMware MoRef
  std::string name;
  std::string inventory_path;
  PowerState power = PowerState::Unknown;
  std::string raw_power;  // the source's own word

  // Guest.
  std::string description;
  std::string comment;             // oVirt
  std::string host_name;           // fqdn or guest host name; empty if unknown
  std::string guest_distribution;  // oVirt guest agent
  std::string guest_version;       // "7.7"
  std::string os_type;             // oVirt os.type; VMware configured guest id
  std::string os_type_reported;    // VMware: guest id by tools
  std::string os_full_name;        // VMware guestFullName
  std::string workload;            // oVirt vm.type: server, desktop, high_performance
  std::string instance_type;       // oVirt
  std::string origin;              // oVirt
  std::vector<std::string> tags;
  std::optional<std::string> sso;  // oVirt: "guest_agent" or "disabled"

  // Hardware.
  std::optional<std::uint32_t> cpu_cores, cpu_sockets, cpu_threads;
  std::string cpu_model;       // oVirt custom_cpu_model
  bool cpu_dedicated = false;  // exact pinning, at least one pin
  std::string architecture;    // "x86_64"
  std::string machine;         // "q35", "pseries", a custom machine, or empty
  Firmware firmware = Firmware::Unknown;
  std::string serial;         // firmware serial; empty: unset
  std::string firmware_uuid;  // VMware config.uuid; oVirt VM id
  std::uint64_t memory_bytes = 0;
  std::optional<std::uint64_t> hugepages_kib;
  std::optional<int> utc_offset_seconds;  // of the guest's clock
  std::string time_zone;                  // IANA, when no offset is known
  bool has_graphics = true;
  std::optional<bool> serial_console;
  bool high_availability = false;
  bool live_migratable = false;  // oVirt affinity migratable
  std::string eviction;          // "LiveMigrate", "None" or empty (say nothing)
  bool has_rng = false;
  std::string watchdog_action;  // "reset", "poweroff", or empty: none
  bool has_tpm = false;
  bool nested_virtualization = false;  // its guest may run virtual machines
  bool has_sound = false;
  bool io_threads = false;
  std::vector<std::string> boot_devices;  // "disk", "network", "cdrom" in order

  std::vector<SourceDisk> disks;  // in source order: boot disk first, then controller order
  std::vector<SourceNic> nics;    // in source order
  std::vector<Finding> findings;  // provider's own rules about the VM, NICs and disks

  std::vector<std::pair<std::string, std::string>> details;  // shown by describe
  friend bool operator==(const SourceVm&, const SourceVm&) = default;
};

}  // namespace vmferry
