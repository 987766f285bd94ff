#include "coordinator/provider/ovirt/rule_parts.h"
#include "coordinator/provider/ovirt/rules.h"

namespace vmferry::ovirt {
namespace {

constexpr std::string_view kDetachHint = "detach the disk from the VM, or import without it";

void check_nic(const Nic& nic, Findings& out) {
  const std::string who = fmt::format("NIC '{}' ({})", nic.name, nic.id);
  const std::string model = nic.interface.value_or("");
  const bool pass_through =
      nic.vnic_profile && nic.vnic_profile->pass_through.value_or("") == "enabled";
  if (!is_one_of(model, {"e1000", "rtl8139", "virtio", "pci_passthrough"})) {
    out.block("nic.interface",
              fmt::format("{}: the model '{}' is not one of e1000, rtl8139, virtio, "
                          "pci_passthrough",
                          who, model),
              "change the NIC's type, best to virtio");
  } else if (model == "pci_passthrough" && !pass_through) {
    out.block("nic.pci_passthrough",
              fmt::format("{}: the model 'pci_passthrough' needs a pass-through vNIC profile", who),
              "give the NIC a pass-through profile, or another type");
  }
  if (!is_true(nic.on_boot)) out.log("nic.on_boot", fmt::format("{}: on_boot is off", who));
  if (!is_true(nic.plugged)) {
    out.warn("nic.plugged", fmt::format("{}: it is not plugged and is left out", who),
             "plug it before the import, or add it to the new VM");
  }
  if (!nic.vnic_profile) {
    out.warn("nic.vnic_profile", fmt::format("{}: it has no vNIC profile and is left out", who),
             "give it a profile before the import, or add it to the new VM");
    return;
  }
  const VnicProfile& profile = *nic.vnic_profile;
  if (is_true(profile.port_mirroring)) {
    out.warn("nic.vnic_profile.port_mirroring",
             fmt::format("{}: port mirroring of profile '{}' is not kept", who, profile.name));
  }
  if (!profile.custom_properties.empty()) {
    out.warn("nic.vnic_profile.custom_properties",
             fmt::format("{}: custom properties of profile '{}' are not kept: {}", who,
                         profile.name, profile.custom_properties.front().name));
  }
  if (profile.network_filter_id) {
    out.warn(
        "nic.vnic_profile.network_filter",
        fmt::format("{}: the network filter '{}' is not kept", who, *profile.network_filter_id),
        "use a network policy at the target");
  }
  if (profile.qos_id) {
    out.log("nic.vnic_profile.qos",
            fmt::format("{}: the QoS '{}' is not kept", who, *profile.qos_id));
  }
}

void check_attachment(const DiskAttachment& attachment, Findings& out) {
  const std::string who = fmt::format("disk attachment '{}'", attachment.id);
  if (is_other(attachment.interface, {"sata", "virtio_scsi", "virtio"})) {
    out.block("disk_attachment.interface",
              fmt::format("{}: the interface '{}' is not one of sata, virtio_scsi, virtio", who,
                          *attachment.interface),
              "change the disk's interface, best to virtio-scsi");
  }
  if (attachment.logical_name) {
    out.log("disk_attachment.logical_name",
            fmt::format("{}: the guest calls it '{}'", who, *attachment.logical_name));
  }
  if (is_true(attachment.pass_discard)) {
    out.log("disk_attachment.pass_discard", fmt::format("{}: discards are passed on", who));
  }
  if (is_true(attachment.uses_scsi_reservation)) {
    out.block("disk_attachment.uses_scsi_reservation",
              fmt::format("{}: it uses SCSI reservations", who),
              "turn off SCSI reservation for the disk");
  }
  if (attachment.active && !*attachment.active) {
    out.warn("disk_attachment.active", fmt::format("{}: it is not active, but is imported", who),
             kDetachHint);
  }
}

void check_disk_itself(const Disk& disk, const std::string& who, Findings& out) {
  if (is_other(disk.interface, {"sata", "virtio_scsi", "virtio"})) {
    out.block("disk_attachment.disk.interface",
              fmt::format("{}: the interface '{}' is not one of sata, virtio_scsi, virtio", who,
                          *disk.interface),
              "change the disk's interface, best to virtio-scsi");
  }
  if (disk.logical_name) {
    out.log("disk_attachment.disk.logical_name",
            fmt::format("{}: the guest calls it '{}'", who, *disk.logical_name));
  }
  if (is_true(disk.uses_scsi_reservation)) {
    out.block("disk_attachment.disk.uses_scsi_reservation",
              fmt::format("{}: it uses SCSI reservations", who),
              "turn off SCSI reservation for the disk");
  }
  if (disk.backup.value_or("") == "incremental") {
    out.warn("disk_attachment.disk.backup", fmt::format("{}: incremental backup is not kept", who));
  }
  if (disk.has_lun) {
    out.block("disk_attachment.disk.lun_storage",
              fmt::format("{}: it is a direct LUN '{}'", who, disk.lun_id), kDetachHint);
  }
  if (disk.propagate_errors) {
    out.log("disk_attachment.disk.propagate_errors",
            fmt::format("{}: propagate_errors is {}", who, *disk.propagate_errors));
  }
  if (is_true(disk.wipe_after_delete)) {
    out.log("disk_attachment.disk.wipe_after_delete",
            fmt::format("{}: it is wiped after deletion", who));
  }
}

void check_disk_state(const Disk& disk, const std::string& who, Findings& out) {
  if (is_other(disk.status, {"ok"})) {
    out.block("disk_attachment.disk.status",
              fmt::format("{}: its status is '{}'", who, *disk.status),
              "wait for the operation that locks the disk, or repair it");
  }
  const std::string type = disk.storage_type.value_or("");
  if (type != "image") {
    out.block("disk_attachment.disk.storage_type",
              fmt::format("{}: its storage type is '{}', not image", who, type), kDetachHint);
  }
  if (is_other(disk.sgio, {"disabled"})) {
    out.block("disk_attachment.disk.sgio",
              fmt::format("{}: SCSI pass-through is '{}'", who, *disk.sgio),
              "turn off SCSI pass-through for the disk");
  }
}

// Rules that the predecessor does not have.
void check_disk_more(const Vm& vm, const Disk& disk, const std::string& who, Findings& out) {
  if (is_true(disk.shareable)) {
    const auto is_other_vm = [&vm](const std::string& id) { return id != vm.id; };
    if (!disk.vm_ids) {
      out.warn("disk_attachment.disk.shareable",
               fmt::format("{}: it is shareable; a VM that shares it would not see the copy", who),
               "make sure that no other VM uses the disk");
    } else if (std::ranges::any_of(*disk.vm_ids, is_other_vm)) {
      out.block("disk_attachment.disk.shareable",
                fmt::format("{}: it is shared with VM {}", who,
                            *std::ranges::find_if(*disk.vm_ids, is_other_vm)),
                "detach the disk from the other VMs");
    }
  }
  // A LUN has neither, and is reported as such.
  if (disk.has_lun) return;
  if (disk.provisioned_size.value_or(0) == 0) {
    out.block("disk_attachment.disk.provisioned_size", fmt::format("{}: it has no size", who),
              kDetachHint);
  }
  if (is_other(disk.format, {"cow", "raw"})) {
    out.block("disk_attachment.disk.format",
              fmt::format("{}: its format '{}' is not known", who, *disk.format), kDetachHint);
  }
  if (is_other(disk.content_type, {"data"})) {
    out.block("disk_attachment.disk.content_type",
              fmt::format("{}: its content is '{}', not data", who, *disk.content_type),
              kDetachHint);
  }
}

}  // namespace

std::vector<Finding> check_nics(const Vm& vm) {
  Findings out;
  for (const Nic& nic : vm.nics.value_or(std::vector<Nic>())) check_nic(nic, out);
  return out.take();
}

std::vector<Finding> check_disks(const Vm& vm) {
  Findings out;
  if (!vm.disk_attachments || vm.disk_attachments->empty()) {
    out.block("disk_attachments.exist", "the VM has no disk", "attach a disk to the VM");
    return out.take();
  }
  for (const DiskAttachment& attachment : *vm.disk_attachments) {
    check_attachment(attachment, out);
    if (!attachment.disk) continue;
    const Disk& disk = *attachment.disk;
    const std::string who = fmt::format("disk '{}' ({})", disk.alias, disk.id);
    check_disk_itself(disk, who, out);
    check_disk_state(disk, who, out);
    check_disk_more(vm, disk, who, out);
  }
  return out.take();
}

}  // namespace vmferry::ovirt
