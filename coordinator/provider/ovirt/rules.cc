#include "coordinator/provider/ovirt/rules.h"

#include "coordinator/provider/ovirt/cpu_models.h"
#include "coordinator/provider/ovirt/rule_parts.h"
#include "coordinator/provider/ovirt/time_zones.h"
#include "coordinator/provider/ovirt/translate.h"

namespace vmferry::ovirt {
namespace {

void check_bios(const Vm& vm, Findings& out) {
  if (is_true(vm.boot_menu)) out.log("vm.bios.boot_menu.enabled", "the BIOS boot menu is enabled");
  if (!vm.has_bios) return;
  const std::string type = effective_bios_type(vm);
  if (!is_one_of(type, {"q35_sea_bios", "q35_secure_boot", "q35_ovmf", "i440fx_sea_bios"})) {
    out.block("vm.bios.type", fmt::format("the BIOS type '{}' is not supported", type),
              "choose a chipset and firmware type for the VM or its cluster");
  }
  if (type == "q35_secure_boot") {
    out.warn("vm.bios.type.q35_secure_boot",
             "the VM boots with q35_secure_boot; keys enrolled in its NVRAM are not migrated",
             "enrol keys of your own again at the target");
  }
}

void check_status(const Vm& vm, Findings& out) {
  const std::string status = vm.status.value_or("");
  if (is_one_of(status, {"up", "down"})) return;
  out.block("vm.status", fmt::format("the VM's status is '{}'", status),
            "bring the VM to status up or down");
}

void check_cpu(const Vm& vm, Findings& out) {
  if (vm.cpu.architecture.value_or("") == "s390x") {
    out.block("vm.cpu.architecture", "the CPU architecture s390x is not supported",
              "import the VM's data another way; its code cannot run here");
  }
  if (vm.cpu.pins && !vm.cpu.pins->empty() && !is_exactly_pinned(vm.cpu)) {
    std::string sets;
    for (const CpuPin& pin : *vm.cpu.pins) sets += (sets.empty() ? "" : "; ") + pin.cpu_set;
    out.warn("vm.cpu.cpu_tune", fmt::format("the CPU pinning '{}' is not one to one", sets),
             "pin each virtual CPU to a host CPU of its own to get dedicated CPUs");
  }
  const std::string policy = vm.cpu_pinning_policy.value_or("none");
  if (!is_one_of(policy, {"none", "manual", ""})) {
    out.warn("vm.cpu_pinning_policy",
             fmt::format("the CPU pinning policy '{}' is not kept: the VM gets no CPUs of its own",
                         policy),
             "give the new VM dedicated CPUs (dedicatedCpuPlacement) if it needs them");
  }
  const std::string model = vm.custom_cpu_model.value_or("");
  if (const std::string known = known_cpu_model(model); known != model) {
    out.warn("vm.custom_cpu_model",
             known.empty()
                 ? fmt::format("the custom CPU model '{}' is not known and is left out", model)
                 : fmt::format("the custom CPU model '{}' becomes '{}'", model, known),
             "choose a CPU model for the new VM if the guest depends on it");
  }
  if (vm.cpu_shares) out.log("vm.cpu_shares", fmt::format("CPU shares are {}", *vm.cpu_shares));
}

void check_custom_properties(const Vm& vm, Findings& out) {
  if (vm.custom_properties.empty()) return;
  std::string list;
  for (const Property& property : vm.custom_properties) {
    list += fmt::format("{}{}={}", list.empty() ? "" : ", ", property.name, property.value);
  }
  out.warn("vm.custom_properties", fmt::format("the VM has custom properties: {}", list),
           "check what they did; only hugepages is carried over");
  for (const Property& property : vm.custom_properties) {
    if (property.name == "mdev_type" && !property.value.empty()) {
      out.block("vm.custom_properties.mdev_type",
                fmt::format("the VM uses a mediated device '{}' (vGPU)", property.value),
                "remove the vGPU from the VM");
    }
    const bool known = is_one_of(property.value, {"2048", "16384", "1048576", "16777216"});
    if (property.name == "hugepages" && !known) {
      out.warn("vm.custom_properties.hugepages",
               fmt::format("hugepages of '{}' KiB are not known and left out", property.value),
               "use 2048 or 1048576");
    }
  }
}

void check_memory(const Vm& vm, Findings& out) {
  const MemoryPolicy& policy = vm.memory_policy;
  if (is_true(policy.ballooning)) {
    out.log("vm.memory_policy.ballooning", "memory ballooning is enabled");
  }
  if (policy.over_commit_percent) {
    out.log("vm.memory_policy.over_commit.percent",
            fmt::format("memory overcommit is {} per cent", *policy.over_commit_percent));
  }
  if (policy.guaranteed) {
    out.log("vm.memory_policy.guaranteed",
            fmt::format("guaranteed memory is {} bytes", *policy.guaranteed));
  }
}

void check_migration(const Vm& vm, Findings& out) {
  if (vm.has_migration) out.log("vm.migration", "the VM has migration options");
  if (vm.migration_downtime) {
    out.log("vm.migration_downtime",
            fmt::format("migration downtime is {}", *vm.migration_downtime));
  }
  if (vm.numa_tune_mode) {
    out.warn("vm.numa_tune_mode",
             fmt::format("the NUMA mode '{}' is not kept", *vm.numa_tune_mode));
  }
}

void check_origin(const Vm& vm, Findings& out) {
  const std::string origin = vm.origin.value_or("");
  if (origin == "kubevirt") {
    out.block("vm.origin", "the VM's origin is 'kubevirt': it runs on KubeVirt already",
              "import it from where it came");
  }
  if (is_one_of(origin, {"managed_hosted_engine", "hosted_engine"})) {
    out.block("vm.origin", fmt::format("the VM's origin is '{}': it is the engine itself", origin),
              "choose another VM; the engine must keep running");
  }
}

void check_behaviour(const Vm& vm, Findings& out) {
  if (is_other(vm.rng_source, {"urandom"})) {
    out.log("vm.rng_device.source", fmt::format("the RNG's source is '{}'", *vm.rng_source));
  }
  if (is_true(vm.soundcard)) {
    out.warn("vm.soundcard_enabled", "the VM has a sound card, which becomes an ich9");
  }
  if (is_true(vm.start_paused)) out.log("vm.start_paused", "the VM starts paused");
  if (is_true(vm.tunnel_migration)) {
    out.warn("vm.tunnel_migration", "tunnelled migration is not kept");
  }
  if (vm.storage_error_resume_behaviour) {
    out.log("vm.storage_error_resume_behaviour",
            fmt::format("on storage errors: {}", *vm.storage_error_resume_behaviour));
  }
  if (is_true(vm.usb)) {
    out.block("vm.usb", "USB is enabled for the VM", "disable USB in the VM's console settings");
  }
}

void check_consoles_and_devices(const Vm& vm, Findings& out) {
  for (const GraphicsConsole& console :
       vm.graphics_consoles.value_or(std::vector<GraphicsConsole>())) {
    if (is_other(console.protocol, {"vnc"})) {
      out.log("vm.graphic_consoles.protocol",
              fmt::format("a graphics console speaks '{}'", *console.protocol));
    }
  }
  if (vm.host_devices && !vm.host_devices->empty()) {
    std::string list;
    for (const HostDevice& device : *vm.host_devices) {
      list += (list.empty() ? "" : ", ") + (device.name.empty() ? device.id : device.name);
    }
    out.warn("vm.host_devices", fmt::format("host devices are not kept: {}", list),
             "assign devices of the target's nodes afterwards");
  }
  if (vm.reported_devices && !vm.reported_devices->empty()) {
    std::string list;
    for (const ReportedDevice& device : *vm.reported_devices) {
      list += fmt::format("{}{}({})", list.empty() ? "" : ", ", device.name, device.id);
    }
    out.log("vm.reported_devices", fmt::format("the guest reports devices: {}", list));
  }
  if (vm.quota_id) out.log("vm.quota", fmt::format("the VM draws on quota '{}'", *vm.quota_id));
}

void check_watchdogs(const Vm& vm, Findings& out) {
  for (const Watchdog& watchdog : vm.watchdogs.value_or(std::vector<Watchdog>())) {
    if (is_other(watchdog.model, {"i6300esb"})) {
      out.block("vm.watchdogs",
                fmt::format("the watchdog model '{}' is not supported", *watchdog.model),
                "change the watchdog's model to i6300esb or remove it");
    } else if (is_other(watchdog.action, {"reset", "poweroff"})) {
      out.warn("vm.watchdogs.action",
               fmt::format("the watchdog's action '{}' becomes reset", *watchdog.action),
               "choose reset or poweroff");
    }
  }
}

void check_media(const Vm& vm, Findings& out) {
  for (const Cdrom& cdrom : vm.cdroms.value_or(std::vector<Cdrom>())) {
    if (is_other(cdrom.storage_domain_type, {"data"})) {
      out.log("vm.cdroms.file.storage_domain.type",
              fmt::format("the CD '{}' lies on a storage domain of type '{}'", cdrom.id,
                          *cdrom.storage_domain_type));
    }
  }
  for (const Cdrom& cdrom : vm.cdroms.value_or(std::vector<Cdrom>())) {
    if (!cdrom.disk) continue;
    const std::string why = why_not_transferable(*cdrom.disk);
    if (why.empty()) {
      out.log("vm.cdroms.image",
              fmt::format("the CD image '{}' is imported as a disk", cdrom.disk->alias));
    } else {
      out.warn("vm.cdroms.image",
               fmt::format("the CD image '{}' is left out: {}", cdrom.disk->alias, why),
               "eject the CD, or attach its image to the new VM");
    }
  }
  if (vm.floppies.value_or(0) > 0) {
    out.log("vm.floppies", fmt::format("the VM has {} floppy drives", *vm.floppies));
  }
}

void check_machine_and_clock(const Vm& vm, const RuleContext& context, Findings& out) {
  const std::string machine = vm.custom_emulated_machine.value_or("");
  if (machine.find("i440fx") != std::string::npos) {
    out.log("vm.machine.type", fmt::format("the custom machine '{}' becomes q35", machine));
  }
  const std::string zone = vm.time_zone_name.value_or("");
  if (context.is_utc_compatible && !context.is_utc_compatible(zone)) {
    // DECISION-V1. translate() sets the clock in the same way.
    const bool by_offset = vm.utc_offset && !vm.utc_offset->empty();
    const bool has_offset = by_offset && parse_utc_offset(*vm.utc_offset).has_value();
    const std::optional<std::string> mapped = by_offset ? std::nullopt : iana_zone(zone);
    if (has_offset || mapped) {
      out.warn("vm.timezone",
               fmt::format("the time zone '{}' differs from UTC; the clock is set to {}", zone,
                           has_offset ? "UTC" + *vm.utc_offset : *mapped),
               "check the guest's clock after its first start");
    } else {
      out.warn("vm.timezone.unknown",
               fmt::format("the time zone '{}' differs from UTC and is not known; the clock is set "
                           "to UTC",
                           zone),
               "set a zone at the source that the IANA database or Windows has, or correct the "
               "guest's clock after its first start");
    }
  }
}

// Rules that the predecessor does not have.
void check_more(const Vm& vm, Findings& out) {
  if (is_true(vm.tpm)) {
    out.warn("vm.tpm", "the VM has a TPM: the new VM gets an empty one, keys in it are lost",
             "have recovery keys at hand for what the TPM unlocks, disks for example");
  }
  if (!vm.kernel.value_or("").empty()) {
    out.warn("vm.os.kernel",
             fmt::format("the VM boots the kernel '{}' of its host, which is not kept: the new VM "
                         "boots from its disks",
                         *vm.kernel),
             "install a boot loader in the VM before the import");
  }
  if (is_true(vm.stateless)) {
    out.warn("vm.stateless",
             "the VM is stateless: what it wrote since its start is dropped when it is shut down "
             "for the import",
             "save what is needed before the import, or turn off 'stateless' and restart it");
  }
  if (is_true(vm.has_next_run)) {
    out.warn("vm.next_run_configuration_exists",
             "changes of the VM's configuration wait for its next start; the new VM is made from "
             "the present one",
             "shut the VM down, and then import it");
  }
  if (vm.lease_domain_id) {
    out.log("vm.lease",
            fmt::format("the VM's lease on storage domain '{}' is not kept", *vm.lease_domain_id));
  }
  std::size_t user_snapshots = 0;
  for (const Snapshot& snapshot : vm.snapshots.value_or(std::vector<Snapshot>())) {
    if (snapshot.type != "active" && !snapshot.type.empty()) ++user_snapshots;
    if (is_one_of(snapshot.status, {"locked", "in_preview"})) {
      out.warn("vm.snapshots.status",
               fmt::format("snapshot '{}' is '{}'", snapshot.description, snapshot.status),
               "wait for the operation on the VM's snapshots, or commit the preview");
    }
  }
  if (user_snapshots > 0) {
    out.warn(
        "vm.snapshots",
        fmt::format("the VM has {} snapshots; only its current state is imported", user_snapshots));
  }
}

}  // namespace

std::vector<Finding> check_vm(const Vm& vm, const RuleContext& context) {
  Findings out;
  check_bios(vm, out);
  check_status(vm, out);
  check_cpu(vm, out);
  check_custom_properties(vm, out);
  if (is_other(vm.display_type, {"vnc"})) {
    out.log("vm.display.type", fmt::format("the display's type is '{}'", *vm.display_type));
  }
  if (is_true(vm.has_illegal_images)) {
    out.block("vm.has_illegal_images", "the VM has illegal images",
              "repair or remove the disks and snapshots that the engine marks as illegal");
  }
  if (vm.ha_priority) {
    out.log("vm.high_availability.priority",
            fmt::format("the priority of high availability is {}", *vm.ha_priority));
  }
  if (vm.io_threads.value_or(0) > 0) {
    out.warn("vm.io.threads",
             fmt::format("the VM has {} I/O threads; their number is chosen anew", *vm.io_threads));
  }
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
