#include "coordinator/provider/ovirt/rules.h"

#include "common/bytes.h"
#include "coordinator/provider/ovirt/cpu_models.h"
#include "coordinator/provider/ovirt/rule_parts.h"
#include "coordinator/provider/ovirt/time_zones.h"
#include "coordinator/provider/ovirt/translate.h"

namespace vmferry::ovirt {
namespace {

void check_bios(const Vm& vm, Findings& out) {
  if (is_true(vm.boot_menu)) out.add("vm.bios.boot_menu.enabled");
  if (!vm.has_bios) return;
  const std::string type = effective_bios_type(vm);
  if (!is_one_of(type, {"q35_sea_bios", "q35_secure_boot", "q35_ovmf", "i440fx_sea_bios"})) {
    out.add("vm.bios.type", type);
  }
  if (type == "q35_secure_boot") out.add("vm.bios.type.q35_secure_boot");
}

void check_status(const Vm& vm, Findings& out) {
  const std::string status = vm.status.value_or("");
  if (!is_one_of(status, {"up", "down"})) out.add("vm.status", status);
}

void check_cpu(const Vm& vm, Findings& out) {
  if (vm.cpu.architecture.value_or("") == "s390x") out.add("vm.cpu.architecture");
  if (vm.cpu.pins && !vm.cpu.pins->empty() && !is_exactly_pinned(vm.cpu)) {
    std::string sets;
    for (const CpuPin& pin : *vm.cpu.pins) sets += (sets.empty() ? "" : "; ") + pin.cpu_set;
    out.add("vm.cpu.cpu_tune", sets);
  }
  const std::string model = vm.custom_cpu_model.value_or("");
  if (const std::string known = known_cpu_model(model); known.empty() && !model.empty()) {
    out.add("vm.custom_cpu_model", model);
  } else if (known != model) {
    out.add("vm.custom_cpu_model/changed", model, known);
  }
  if (vm.cpu_shares) out.add("vm.cpu_shares", *vm.cpu_shares);
}

// The very sizes that vm_cpu.cc gives to a VM.
void check_hugepages(const Vm& vm, const std::string& kib_text, Findings& out) {
  if (!is_one_of(kib_text, {"2048", "16384", "1048576", "16777216"})) {
    out.add("vm.custom_properties.hugepages", kib_text);
  } else if (const std::uint64_t memory = vm.memory.value_or(0);
             memory % (std::stoull(kib_text) * kKiB) != 0) {
    out.add("vm.custom_properties.hugepages/memory", memory, kib_text);
  }
}

void check_custom_properties(const Vm& vm, Findings& out) {
  if (vm.custom_properties.empty()) return;
  std::string list;
  for (const Property& property : vm.custom_properties) {
    list += fmt::format("{}{}={}", list.empty() ? "" : ", ", property.name, property.value);
  }
  out.add("vm.custom_properties", list);
  for (const Property& property : vm.custom_properties) {
    if (property.name == "mdev_type" && !property.value.empty()) {
      out.add("vm.custom_properties.mdev_type", property.value);
    }
    if (property.name == "hugepages") check_hugepages(vm, property.value, out);
  }
}

void check_memory(const Vm& vm, Findings& out) {
  const MemoryPolicy& policy = vm.memory_policy;
  if (is_true(policy.ballooning)) out.add("vm.memory_policy.ballooning");
  if (policy.over_commit_percent) {
    out.add("vm.memory_policy.over_commit.percent", *policy.over_commit_percent);
  }
  if (policy.guaranteed) out.add("vm.memory_policy.guaranteed", *policy.guaranteed);
}

void check_migration(const Vm& vm, Findings& out) {
  if (vm.has_migration) out.add("vm.migration");
  if (vm.migration_downtime) out.add("vm.migration_downtime", *vm.migration_downtime);
  if (vm.numa_tune_mode) out.add("vm.numa_tune_mode", *vm.numa_tune_mode);
}

void check_origin(const Vm& vm, Findings& out) {
  const std::string origin = vm.origin.value_or("");
  if (origin == "kubevirt") out.add("vm.origin");
  if (is_one_of(origin, {"managed_hosted_engine", "hosted_engine"})) {
    out.add("vm.origin/engine", origin);
  }
}

void check_behaviour(const Vm& vm, Findings& out) {
  if (is_other(vm.rng_source, {"urandom"})) out.add("vm.rng_device.source", *vm.rng_source);
  if (is_true(vm.soundcard)) out.add("vm.soundcard_enabled");
  if (is_true(vm.start_paused)) out.add("vm.start_paused");
  if (is_true(vm.tunnel_migration)) out.add("vm.tunnel_migration");
  if (vm.storage_error_resume_behaviour) {
    out.add("vm.storage_error_resume_behaviour", *vm.storage_error_resume_behaviour);
  }
  if (is_true(vm.usb)) out.add("vm.usb");
}

void check_consoles_and_devices(const Vm& vm, Findings& out) {
  for (const GraphicsConsole& console :
       vm.graphics_consoles.value_or(std::vector<GraphicsConsole>())) {
    if (is_other(console.protocol, {"vnc"})) {
      out.add("vm.graphic_consoles.protocol", *console.protocol);
    }
  }
  if (vm.host_devices && !vm.host_devices->empty()) {
    std::string list;
    for (const HostDevice& device : *vm.host_devices) {
      list += (list.empty() ? "" : ", ") + (device.name.empty() ? device.id : device.name);
    }
    out.add("vm.host_devices", list);
  }
  if (vm.reported_devices && !vm.reported_devices->empty()) {
    std::string list;
    for (const ReportedDevice& device : *vm.reported_devices) {
      list += fmt::format("{}{}({})", list.empty() ? "" : ", ", device.name, device.id);
    }
    out.add("vm.reported_devices", list);
  }
  if (vm.quota_id) out.add("vm.quota", *vm.quota_id);
}

void check_watchdogs(const Vm& vm, Findings& out) {
  for (const Watchdog& watchdog : vm.watchdogs.value_or(std::vector<Watchdog>())) {
    if (is_other(watchdog.model, {"i6300esb"})) {
      out.add("vm.watchdogs", *watchdog.model);
    } else if (is_other(watchdog.action, {"reset", "poweroff"})) {
      out.add("vm.watchdogs.action", *watchdog.action);
    }
  }
}

void check_media(const Vm& vm, Findings& out) {
  for (const Cdrom& cdrom : vm.cdroms.value_or(std::vector<Cdrom>())) {
    if (is_other(cdrom.storage_domain_type, {"data"})) {
      out.add("vm.cdroms.file.storage_domain.type", cdrom.id, *cdrom.storage_domain_type);
    }
  }
  for (const Cdrom& cdrom : vm.cdroms.value_or(std::vector<Cdrom>())) {
    if (!cdrom.disk) continue;
    const std::string why = why_not_transferable(*cdrom.disk);
    if (why.empty()) {
      out.add("vm.cdroms.image", cdrom.disk->alias);
    } else {
      out.add("vm.cdroms.image/unreadable", cdrom.disk->alias, why);
    }
  }
  if (vm.floppies.value_or(0) > 0) out.add("vm.floppies", *vm.floppies);
}

void check_machine_and_clock(const Vm& vm, const RuleContext& context, Findings& out) {
  const std::string machine = vm.custom_emulated_machine.value_or("");
  if (machine.find("i440fx") != std::string::npos) out.add("vm.machine.type", machine);
  const std::string zone = vm.time_zone_name.value_or("");
  if (context.is_utc_compatible && !context.is_utc_compatible(zone)) {
    // DECISION-V1. translate() sets the clock in the same way.
    const bool by_offset = vm.utc_offset && !vm.utc_offset->empty();
    const bool has_offset = by_offset && parse_utc_offset(*vm.utc_offset).has_value();
    const std::optional<std::string> mapped = by_offset ? std::nullopt : iana_zone(zone);
    if (has_offset || mapped) {
      out.add("vm.timezone", zone, has_offset ? "UTC" + *vm.utc_offset : *mapped);
    } else {
      out.add("vm.timezone.unknown", zone);
    }
  }
}

// Rules that the predecessor does not have.
void check_more(const Vm& vm, Findings& out) {
  if (is_true(vm.tpm)) out.add("vm.tpm");
  if (is_true(vm.stateless)) out.add("vm.stateless");
  if (is_true(vm.has_next_run)) out.add("vm.next_run_configuration_exists");
  if (vm.lease_domain_id) out.add("vm.lease", *vm.lease_domain_id);
  std::size_t user_snapshots = 0;
  for (const Snapshot& snapshot : vm.snapshots.value_or(std::vector<Snapshot>())) {
    if (snapshot.type != "active" && !snapshot.type.empty()) ++user_snapshots;
    if (is_one_of(snapshot.status, {"locked", "in_preview"})) {
      out.add("vm.snapshots.status", snapshot.description, snapshot.status);
    }
  }
  if (user_snapshots > 0) out.add("vm.snapshots", user_snapshots);
}

}  // namespace

std::vector<Finding> check_vm(const Vm& vm, const RuleContext& context) {
  Findings out;
  check_bios(vm, out);
  check_status(vm, out);
  check_cpu(vm, out);
  check_custom_properties(vm, out);
  if (is_other(vm.display_type, {"vnc"})) out.add("vm.display.type", *vm.display_type);
  if (is_true(vm.has_illegal_images)) out.add("vm.has_illegal_images");
  if (vm.ha_priority) out.add("vm.high_availability.priority", *vm.ha_priority);
  if (vm.io_threads.value_or(0) > 0) out.add("vm.io.threads", *vm.io_threads);
  check_memory(vm, out);
  check_migration(vm, out);
  check_origin(vm, out);
  check_behaviour(vm, out);
  check_consoles_and_devices(vm, out);
  check_watchdogs(vm, out);
  check_media(vm, out);
  check_machine_and_clock(vm, context, out);
  check_more(vm, out);
  return out.take();
}

std::vector<Finding> check_rules(const Vm& vm, const RuleContext& context) {
  std::vector<Finding> all = check_vm(vm, context);
  for (Finding& finding : check_nics(vm)) all.push_back(std::move(finding));
  for (Finding& finding : check_disks(vm)) all.push_back(std::move(finding));
  return all;
}

}  // namespace vmferry::ovirt
