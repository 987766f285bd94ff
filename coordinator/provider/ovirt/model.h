#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/provider/ovirt/xml.h"

// The engine's objects as far as we read them (source-ovirt.md 2.2). Names are the API's; an unset
// optional was missing in the answer, an empty text was there without a value. Enumerations are
// kept as the engine spells them.
namespace vmferry::ovirt {

using Text = std::optional<std::string>;
using Flag = std::optional<bool>;
using Number = std::optional<std::int64_t>;

struct Property {
  std::string name, value;
};

struct StorageDomain {
  std::string id, name;
  Text type;  // data, iso, export, ...
  Text status;
};

struct Disk {
  std::string id, alias;
  std::optional<std::uint64_t> provisioned_size, actual_size, total_size;  // bytes
  std::string image_id;                                                    // of the active volume
  Text format, status, storage_type, content_type, backup, sgio;
  Text interface, logical_name;  // deprecated: now of the attachment
  Flag shareable, propagate_errors, wipe_after_delete, uses_scsi_reservation;
  bool has_lun = false;
  std::string lun_id;
  std::vector<StorageDomain> storage_domains;
  std::optional<std::vector<std::string>> vm_ids;  // of all machines that it is attached to
};

struct DiskAttachment {
  std::string id;
  Flag active, bootable, pass_discard, read_only, uses_scsi_reservation;
  Text interface, logical_name;
  std::optional<Disk> disk;
};

struct VnicProfile {
  std::string id, name;
  std::string network_id, network_name;
  Flag port_mirroring;
  Text pass_through;  // enabled, disabled
  std::vector<Property> custom_properties;
  std::optional<std::string> network_filter_id, qos_id;
};

struct Nic {
  std::string id, name;
  Text interface, mac;
  Flag linked, plugged, on_boot;
  std::optional<VnicProfile> vnic_profile;
};

struct Cdrom {
  std::string id;
  std::string file_id;  // empty: no media
  Text storage_domain_type;
  std::optional<Disk> disk;  // the file, where it is a disk image of a data domain
};

struct Watchdog {
  Text model, action;
};

struct GraphicsConsole {
  std::string id;
  Text protocol;
};

struct HostDevice {
  std::string id, name, capability;
};

struct ReportedDevice {
  std::string id, name;
};

struct Snapshot {
  std::string id, description, type, status;
};

struct Cluster {
  std::string id, name;
  Text bios_type;
};

struct CpuPin {
  std::string cpu_set;
};

struct Cpu {
  Text architecture;
  std::optional<std::uint32_t> cores, sockets, threads;
  std::optional<std::vector<CpuPin>> pins;  // of cpu_tune
};

struct MemoryPolicy {
  Number guaranteed, max, over_commit_percent;
  Flag ballooning;
};

struct Vm {
  std::string id, name;
  Text status, status_detail, type, description, comment, origin, fqdn;
  Text start_time, stop_time;
  std::optional<std::uint64_t> memory;  // bytes
  MemoryPolicy memory_policy;
  Cpu cpu;
  Number cpu_shares;
  Text custom_cpu_model, custom_emulated_machine;
  bool has_bios = false;
  Text bios_type;
  Flag boot_menu;
  Text os_type;
  std::vector<std::string> boot_devices;  // hd, cdrom, network
  Text guest_distribution, guest_version;
  Text time_zone_name, utc_offset;
  Text display_type;
  Flag high_availability;
  Number ha_priority;
  Text affinity;
  bool has_migration = false;
  Number migration_downtime, io_threads;
  Flag usb, soundcard, console, tpm, start_paused, tunnel_migration, has_illegal_images;
  Flag stateless, has_next_run;  // changes of the configuration wait for the next start
  bool has_rng = false;
  Text rng_source;
  Text serial_policy, serial_value;
  std::optional<std::size_t> sso_methods;  // how many; unset: no <sso>
  Text storage_error_resume_behaviour, numa_tune_mode;
  std::vector<Property> custom_properties;
  std::optional<std::string> quota_id, lease_domain_id;
  Text instance_type;  // its name
  std::optional<Cluster> cluster;

  // Collections: unset when the engine did not show them.
  std::optional<std::vector<DiskAttachment>> disk_attachments;
  std::optional<std::vector<Nic>> nics;
  std::optional<std::vector<Cdrom>> cdroms;
  std::optional<std::vector<Watchdog>> watchdogs;
  std::optional<std::vector<GraphicsConsole>> graphics_consoles;
  std::optional<std::vector<HostDevice>> host_devices;
  std::optional<std::vector<ReportedDevice>> reported_devices;
  std::optional<std::vector<Snapshot>> snapshots;
  std::optional<std::size_t> floppies;
  std::vector<std::string> tags;
};

struct ImageTransfer {
  std::string id, disk_id, host_id;
  std::string phase, direction, format;
  std::string transfer_url, proxy_url;
  Number inactivity_timeout;  // seconds
  Text timeout_policy;
};

// `vm` with its collections and their members inlined, as far as there are any.
Vm parse_vm(const Element& vm);
Disk parse_disk(const Element& disk);
StorageDomain parse_storage_domain(const Element& domain);
ImageTransfer parse_image_transfer(const Element& transfer);

// vm.bios.type, or the cluster's when it says cluster_default or nothing (mapping-ovirt.md 4.1).
std::string effective_bios_type(const Vm& vm);

}  // namespace vmferry::ovirt
