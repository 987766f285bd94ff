#include "coordinator/provider/ovirt/rule_parts.h"
#include "coordinator/provider/ovirt/rules.h"

namespace vmferry::ovirt {
namespace {

void check_nic(const Nic& nic, Findings& out) {
  const std::string who = fmt::format("NIC '{}' ({})", nic.name, nic.id);
  const std::string model = nic.interface.value_or("");
  const bool pass_through =
      nic.vnic_profile && nic.vnic_profile->pass_through.value_or("") == "enabled";
  if (!is_one_of(model, {"e1000", "rtl8139", "virtio", "pci_passthrough"})) {
    out.add("nic.interface", who, model);
  } else if (model == "pci_passthrough" && !pass_through) {
    out.add("nic.pci_passthrough", who);
  }
  if (!is_true(nic.on_boot)) out.add("nic.on_boot", who);
  if (!nic.plugged) {
    out.add("nic.plugged/unknown", who);
  } else if (!*nic.plugged) {
    out.add("nic.plugged", who);
  }
  if (!nic.vnic_profile) {
    out.add("nic.vnic_profile", who);
    return;
  }
  const VnicProfile& profile = *nic.vnic_profile;
  if (is_true(profile.port_mirroring)) {
    out.add("nic.vnic_profile.port_mirroring", who, profile.name);
  }
  if (!profile.custom_properties.empty()) {
    std::string names;
    for (const Property& property : profile.custom_properties) {
      names += (names.empty() ? "" : ", ") + property.name;
    }
    out.add("nic.vnic_profile.custom_properties", who, profile.name, names);
  }
  if (profile.network_filter_id) {
    out.add("nic.vnic_profile.network_filter", who, *profile.network_filter_id);
  }
  if (profile.qos_id) out.add("nic.vnic_profile.qos", who, *profile.qos_id);
}

void check_attachment(const DiskAttachment& attachment, Findings& out) {
  const std::string who = fmt::format("disk attachment '{}'", attachment.id);
  if (is_other(attachment.interface, {"sata", "virtio_scsi", "virtio"})) {
    out.add("disk_attachment.interface", who, *attachment.interface);
  }
  if (attachment.logical_name) {
    out.add("disk_attachment.logical_name", who, *attachment.logical_name);
  }
  if (is_true(attachment.pass_discard)) out.add("disk_attachment.pass_discard", who);
  if (is_true(attachment.uses_scsi_reservation)) {
    out.add("disk_attachment.uses_scsi_reservation", who);
  }
  if (attachment.active && !*attachment.active) out.add("disk_attachment.active", who);
}

void check_disk_itself(const Disk& disk, const std::string& who, Findings& out) {
  if (is_other(disk.interface, {"sata", "virtio_scsi", "virtio"})) {
    out.add("disk_attachment.disk.interface", who, *disk.interface);
  }
  if (disk.logical_name) out.add("disk_attachment.disk.logical_name", who, *disk.logical_name);
  if (is_true(disk.uses_scsi_reservation)) {
    out.add("disk_attachment.disk.uses_scsi_reservation", who);
  }
  if (disk.backup.value_or("") == "incremental") out.add("disk_attachment.disk.backup", who);
  if (disk.has_lun) out.add("disk_attachment.disk.lun_storage", who, disk.lun_id);
  if (disk.propagate_errors) {
    out.add("disk_attachment.disk.propagate_errors", who, *disk.propagate_errors);
  }
  if (is_true(disk.wipe_after_delete)) out.add("disk_attachment.disk.wipe_after_delete", who);
}

void check_disk_state(const Disk& disk, const std::string& who, Findings& out) {
  if (is_other(disk.status, {"ok"})) out.add("disk_attachment.disk.status", who, *disk.status);
  const std::string type = disk.storage_type.value_or("");
  if (type != "image") out.add("disk_attachment.disk.storage_type", who, type);
  if (is_other(disk.sgio, {"disabled"})) out.add("disk_attachment.disk.sgio", who, *disk.sgio);
}

// Rules that the predecessor does not have.
void check_disk_more(const Vm& vm, const Disk& disk, const std::string& who, Findings& out) {
  if (is_true(disk.shareable)) {
    const auto is_other_vm = [&vm](const std::string& id) { return id != vm.id; };
    if (!disk.vm_ids) {
      out.add("disk_attachment.disk.shareable/unknown", who);
    } else if (std::ranges::any_of(*disk.vm_ids, is_other_vm)) {
      out.add("disk_attachment.disk.shareable", who,
              *std::ranges::find_if(*disk.vm_ids, is_other_vm));
    }
  }
  // A LUN has neither, and is reported as such.
  if (disk.has_lun) return;
  if (disk.provisioned_size.value_or(0) == 0) {
    out.add("disk_attachment.disk.provisioned_size", who);
  }
  if (is_other(disk.format, {"cow", "raw"})) {
    out.add("disk_attachment.disk.format", who, *disk.format);
  }
  if (is_other(disk.content_type, {"data"})) {
    out.add("disk_attachment.disk.content_type", who, *disk.content_type);
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
    out.add("disk_attachments.exist");
    return out.take();
  }
  for (const DiskAttachment& attachment : *vm.disk_attachments) {
    check_attachment(attachment, out);
    if (!attachment.disk) {
      out.add("disk_attachments.disk", attachment.id);
      continue;
    }
    const Disk& disk = *attachment.disk;
    const std::string who = fmt::format("disk '{}' ({})", disk.alias, disk.id);
    check_disk_itself(disk, who, out);
    check_disk_state(disk, who, out);
    check_disk_more(vm, disk, who, out);
  }
  return out.take();
}

}  // namespace vmferry::ovirt
