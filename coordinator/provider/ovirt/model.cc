#include "coordinator/provider/ovirt/model.h"

#include <limits>

namespace vmferry::ovirt {
namespace {

// The members of a collection; unset when it is not there, or only a reference to it is.
template <typename T>
std::optional<std::vector<T>> members(const Element& parent, const char* collection,
                                      const char* member, T (*parse)(const Element&)) {
  const Element found = parent.child(collection);
  if (!found || (found.is_reference() && !found.href().empty())) return std::nullopt;
  std::vector<T> result;
  for (const Element& each : found.children(member)) result.push_back(parse(each));
  return result;
}

std::vector<Property> properties(const Element& parent) {
  std::vector<Property> result;
  for (const Element& each : parent.child("custom_properties").children("custom_property")) {
    result.push_back({each.text_or("name", ""), each.text_or("value", "")});
  }
  return result;
}

std::optional<std::string> reference(const Element& parent, std::string_view path) {
  const Element found = parent.child(path);
  if (!found) return std::nullopt;
  return found.id();
}

std::optional<std::uint32_t> count(const Element& parent, std::string_view path) {
  const std::optional<std::int64_t> value = parent.integer(path);
  if (!value || *value < 1 || *value > std::numeric_limits<std::uint16_t>::max()) {
    return std::nullopt;
  }
  return static_cast<std::uint32_t>(*value);
}

DiskAttachment parse_attachment(const Element& each) {
  DiskAttachment result;
  result.id = each.id();
  result.active = each.boolean("active");
  result.bootable = each.boolean("bootable");
  result.pass_discard = each.boolean("pass_discard");
  result.read_only = each.boolean("read_only");
  result.uses_scsi_reservation = each.boolean("uses_scsi_reservation");
  result.interface = each.text("interface");
  result.logical_name = each.text("logical_name");
  if (const Element disk = each.child("disk"); disk && !disk.is_reference()) {
    result.disk = parse_disk(disk);
  }
  return result;
}

VnicProfile parse_profile(const Element& each) {
  VnicProfile result;
  result.id = each.id();
  result.name = each.text_or("name", "");
  result.network_id = each.child("network").id();
  result.network_name = each.text_or("network.name", "");
  result.port_mirroring = each.boolean("port_mirroring");
  result.pass_through = each.text("pass_through.mode");
  result.custom_properties = properties(each);
  result.network_filter_id = reference(each, "network_filter");
  result.qos_id = reference(each, "qos");
  return result;
}

Nic parse_nic(const Element& each) {
  Nic result;
  result.id = each.id();
  result.name = each.text_or("name", "");
  result.interface = each.text("interface");
  result.mac = each.text("mac.address");
  result.linked = each.boolean("linked");
  result.plugged = each.boolean("plugged");
  result.on_boot = each.boolean("on_boot");
  if (const Element profile = each.child("vnic_profile"); profile && !profile.id().empty()) {
    result.vnic_profile = parse_profile(profile);
  }
  return result;
}

Cdrom parse_cdrom(const Element& each) {
  const Element file = each.child("file");
  Cdrom result{each.id(), file.id(), file.text("storage_domain.type"), std::nullopt};
  if (const Element disk = each.child("disk")) {
    result.disk = parse_disk(disk);
    const auto& domains = result.disk->storage_domains;
    if (!result.storage_domain_type && !domains.empty()) {
      result.storage_domain_type = domains.front().type;
    }
  }
  return result;
}

Watchdog parse_watchdog(const Element& each) { return {each.text("model"), each.text("action")}; }

GraphicsConsole parse_console(const Element& each) { return {each.id(), each.text("protocol")}; }

HostDevice parse_host_device(const Element& each) {
  return {each.id(), each.text_or("name", ""), each.text_or("capability", "")};
}

ReportedDevice parse_reported_device(const Element& each) {
  return {each.id(), each.text_or("name", "")};
}

Snapshot parse_snapshot(const Element& each) {
  return {each.id(), each.text_or("description", ""), each.text_or("snapshot_type", ""),
          each.text_or("snapshot_status", "")};
}

void parse_hardware(const Element& vm, Vm& result) {
  result.memory = vm.bytes("memory");
  result.memory_policy = {.guaranteed = vm.integer("memory_policy.guaranteed"),
                          .max = vm.integer("memory_policy.max"),
                          .over_commit_percent = vm.integer("memory_policy.over_commit.percent"),
                          .ballooning = vm.boolean("memory_policy.ballooning")};
  result.cpu.architecture = vm.text("cpu.architecture");
  result.cpu.cores = count(vm, "cpu.topology.cores");
  result.cpu.sockets = count(vm, "cpu.topology.sockets");
  result.cpu.threads = count(vm, "cpu.topology.threads");
  if (const Element tune = vm.child("cpu.cpu_tune")) {
    result.cpu.pins.emplace();
    for (const Element& pin : tune.child("vcpu_pins").children("vcpu_pin")) {
      result.cpu.pins->push_back({pin.text_or("cpu_set", "")});
    }
  }
  result.cpu_shares = vm.integer("cpu_shares");
  result.custom_cpu_model = vm.text("custom_cpu_model");
  result.custom_emulated_machine = vm.text("custom_emulated_machine");
  result.has_bios = static_cast<bool>(vm.child("bios"));
  result.bios_type = vm.text("bios.type");
  result.boot_menu = vm.boolean("bios.boot_menu.enabled");
  result.usb = vm.boolean("usb.enabled");
  result.soundcard = vm.boolean("soundcard_enabled");
  result.console = vm.boolean("console.enabled");
  result.tpm = vm.boolean("tpm_enabled");
  result.rng_source = vm.text("rng_device.source");
  result.has_rng = static_cast<bool>(vm.child("rng_device"));
  result.serial_policy = vm.text("serial_number.policy");
  result.serial_value = vm.text("serial_number.value");
  result.display_type = vm.text("display.type");
  result.io_threads = vm.integer("io.threads");
}

void parse_behaviour(const Element& vm, Vm& result) {
  result.high_availability = vm.boolean("high_availability.enabled");
  result.ha_priority = vm.integer("high_availability.priority");
  result.affinity = vm.text("placement_policy.affinity");
  result.has_migration = static_cast<bool>(vm.child("migration"));
  result.migration_downtime = vm.integer("migration_downtime");
  result.start_paused = vm.boolean("start_paused");
  result.tunnel_migration = vm.boolean("tunnel_migration");
  result.stateless = vm.boolean("stateless");
  result.has_next_run = vm.boolean("next_run_configuration_exists");
  result.has_illegal_images = vm.boolean("has_illegal_images");
  result.storage_error_resume_behaviour = vm.text("storage_error_resume_behaviour");
  result.numa_tune_mode = vm.text("numa_tune_mode");
  result.custom_properties = properties(vm);
  result.quota_id = reference(vm, "quota");
  result.lease_domain_id = reference(vm, "lease.storage_domain");
  result.instance_type = vm.text("instance_type.name");
  if (const Element sso = vm.child("sso")) {
    result.sso_methods = sso.child("methods").children("method").size();
  }
}

void parse_guest(const Element& vm, Vm& result) {
  result.os_type = vm.text("os.type");
  for (const Element& device : vm.child("os.boot.devices").children("device")) {
    result.boot_devices.push_back(device.own_text());
  }
  result.guest_distribution = vm.text("guest_operating_system.distribution");
  result.guest_version = vm.text("guest_operating_system.version.full_version");
  result.fqdn = vm.text("fqdn");
  result.time_zone_name = vm.text("time_zone.name");
  result.utc_offset = vm.text("time_zone.utc_offset");
}

void parse_collections(const Element& vm, Vm& result) {
  result.disk_attachments = members(vm, "disk_attachments", "disk_attachment", &parse_attachment);
  result.nics = members(vm, "nics", "nic", &parse_nic);
  result.cdroms = members(vm, "cdroms", "cdrom", &parse_cdrom);
  result.watchdogs = members(vm, "watchdogs", "watchdog", &parse_watchdog);
  result.graphics_consoles = members(vm, "graphics_consoles", "graphics_console", &parse_console);
  result.host_devices = members(vm, "host_devices", "host_device", &parse_host_device);
  result.reported_devices =
      members(vm, "reported_devices", "reported_device", &parse_reported_device);
  result.snapshots = members(vm, "snapshots", "snapshot", &parse_snapshot);
  if (const Element floppies = vm.child("floppies")) {
    result.floppies = floppies.children("floppy").size();
  }
  for (const Element& tag : vm.child("tags").children("tag")) {
    result.tags.push_back(tag.text_or("name", ""));
  }
}

}  // namespace

StorageDomain parse_storage_domain(const Element& domain) {
  return {domain.id(), domain.text_or("name", ""), domain.text("type"), domain.text("status")};
}

Disk parse_disk(const Element& disk) {
  Disk result;
  result.id = disk.id();
  result.alias = disk.text_or("alias", disk.text_or("name", ""));
  result.provisioned_size = disk.bytes("provisioned_size");
  result.actual_size = disk.bytes("actual_size");
  result.total_size = disk.bytes("total_size");
  result.image_id = disk.text_or("image_id", "");
  result.format = disk.text("format");
  result.status = disk.text("status");
  result.storage_type = disk.text("storage_type");
  result.content_type = disk.text("content_type");
  result.backup = disk.text("backup");
  result.sgio = disk.text("sgio");
  result.interface = disk.text("interface");
  result.logical_name = disk.text("logical_name");
  result.shareable = disk.boolean("shareable");
  result.propagate_errors = disk.boolean("propagate_errors");
  result.wipe_after_delete = disk.boolean("wipe_after_delete");
  result.uses_scsi_reservation = disk.boolean("uses_scsi_reservation");
  if (const Element lun = disk.child("lun_storage")) {
    result.has_lun = true;
    result.lun_id = lun.child("logical_units.logical_unit").id();
    if (result.lun_id.empty()) result.lun_id = lun.id();
  }
  for (const Element& domain : disk.child("storage_domains").children("storage_domain")) {
    result.storage_domains.push_back(parse_storage_domain(domain));
  }
  if (const Element vms = disk.child("vms"); vms && vms.href().empty()) {
    result.vm_ids.emplace();
    for (const Element& vm : vms.children("vm")) result.vm_ids->push_back(vm.id());
  }
  return result;
}

ImageTransfer parse_image_transfer(const Element& transfer) {
  ImageTransfer result;
  result.id = transfer.id();
  result.disk_id = transfer.child("disk").id();
  if (result.disk_id.empty()) result.disk_id = transfer.child("image").id();
  result.host_id = transfer.child("host").id();
  result.phase = transfer.text_or("phase", "");
  result.direction = transfer.text_or("direction", "");
  result.format = transfer.text_or("format", "");
  result.transfer_url = transfer.text_or("transfer_url", "");
  result.proxy_url = transfer.text_or("proxy_url", "");
  result.inactivity_timeout = transfer.integer("inactivity_timeout");
  result.timeout_policy = transfer.text("timeout_policy");
  return result;
}

Vm parse_vm(const Element& vm) {
  Vm result;
  result.id = vm.id();
  result.name = vm.text_or("name", "");
  result.status = vm.text("status");
  result.status_detail = vm.text("status_detail");
  result.type = vm.text("type");
  result.description = vm.text("description");
  result.comment = vm.text("comment");
  result.origin = vm.text("origin");
  result.start_time = vm.text("start_time");
  result.stop_time = vm.text("stop_time");
  if (const Element cluster = vm.child("cluster")) {
    result.cluster = Cluster{cluster.id(), cluster.text_or("name", ""), cluster.text("bios_type")};
  }
  parse_hardware(vm, result);
  parse_behaviour(vm, result);
  parse_guest(vm, result);
  parse_collections(vm, result);
  return result;
}

std::string effective_bios_type(const Vm& vm) {
  const std::string own = vm.bios_type.value_or("");
  const bool is_default = own == "cluster_default" || !vm.has_bios;
  if (is_default && vm.cluster && vm.cluster->bios_type) return *vm.cluster->bios_type;
  return own;
}

}  // namespace vmferry::ovirt
