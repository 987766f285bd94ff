#pragma once

#include "coordinator/rules/rule.h"

namespace vmferry::rules {

inline constexpr std::string_view kDetachDisk =
    "detach the disk from the VM, and import without it";
inline constexpr std::string_view kChangeInterface =
    "change the disk's interface, best to virtio-scsi";
inline constexpr std::string_view kNoReservation = "turn off SCSI reservation for the disk";

inline constexpr Rule kOvirtNicRules[] = {
    {"nic.interface", "", kOvirt, kSource, kBlock, kOverridable,
     "the model is none of virtio, e1000, rtl8139, pci_passthrough",
     "{nic}: the model '{model}' is not one of e1000, rtl8139, virtio, pci_passthrough",
     "change the NIC's type, best to virtio"},
    {"nic.pci_passthrough", "", kOvirt, kSource, kBlock, kOverridable,
     "pci_passthrough without a pass-through profile",
     "{nic}: the model 'pci_passthrough' needs a pass-through vNIC profile",
     "give the NIC a pass-through profile, or another type"},
    {"nic.on_boot", "", kOvirt, kSource, kLog, kOverridable, "not on boot", "{nic}: on_boot is off",
     ""},
    {"nic.plugged", "", kOvirt, kSource, kWarn, kOverridable,
     "unplugged: the NIC is not added (DECISION-M4)", "{nic}: it is not plugged and is left out",
     "plug it before the import, or add it to the new VM"},
    {"nic.vnic_profile", "", kOvirt, kSource, kWarn, kOverridable,
     "no vNIC profile: the NIC is not added", "{nic}: it has no vNIC profile and is left out",
     "give it a profile before the import, or add it to the new VM"},
    {"nic.vnic_profile.port_mirroring", "", kOvirt, kSource, kWarn, kOverridable, "port mirroring",
     "{nic}: port mirroring of profile '{profile}' is not kept",
     "mirror the target's network by its own means"},
    {"nic.vnic_profile.custom_properties", "", kOvirt, kSource, kWarn, kOverridable,
     "custom properties",
     "{nic}: custom properties of profile '{profile}' are not kept: {properties}",
     "check what they did, and configure the target's network for it"},
    {"nic.vnic_profile.network_filter", "", kOvirt, kSource, kWarn, kOverridable,
     "a network filter", "{nic}: the network filter '{filter}' is not kept",
     "use a network policy at the target"},
    {"nic.vnic_profile.qos", "", kOvirt, kSource, kLog, kOverridable, "a quality of service",
     "{nic}: the QoS '{qos}' is not kept", ""},
};

inline constexpr Rule kOvirtDiskRules[] = {
    {"disk_attachments.exist", "", kOvirt, kSource, kBlock, kFixed, "no disk attachment",
     "the VM has no disk", "attach a disk to the VM"},
    {"disk_attachment.interface", "", kOvirt, kSource, kBlock, kOverridable,
     "not sata, virtio_scsi or virtio",
     "{disk}: the interface '{interface}' is not one of sata, virtio_scsi, virtio",
     kChangeInterface},
    {"disk_attachment.active", "", kOvirt, kSource, kWarn, kOverridable,
     "the attachment is not active", "{disk}: it is not active, but is imported", kDetachDisk},
    {"disk_attachment.logical_name", "", kOvirt, kSource, kLog, kOverridable, "a logical name",
     "{disk}: the guest calls it '{name}'", ""},
    {"disk_attachment.pass_discard", "", kOvirt, kSource, kLog, kOverridable,
     "discard is passed on", "{disk}: discards are passed on", ""},
    {"disk_attachment.uses_scsi_reservation", "", kOvirt, kSource, kBlock, kOverridable,
     "SCSI reservation", "{disk}: it uses SCSI reservations", kNoReservation},
    {"disk_attachment.disk.interface", "", kOvirt, kSource, kBlock, kOverridable,
     "not sata, virtio_scsi or virtio",
     "{disk}: the interface '{interface}' is not one of sata, virtio_scsi, virtio",
     kChangeInterface},
    {"disk_attachment.disk.logical_name", "", kOvirt, kSource, kLog, kOverridable, "a logical name",
     "{disk}: the guest calls it '{name}'", ""},
    {"disk_attachment.disk.uses_scsi_reservation", "", kOvirt, kSource, kBlock, kOverridable,
     "SCSI reservation", "{disk}: it uses SCSI reservations", kNoReservation},
    {"disk_attachment.disk.backup", "", kOvirt, kSource, kWarn, kOverridable, "incremental backup",
     "{disk}: incremental backup is not kept", "back up the new VM by the target's means"},
    {"disk_attachment.disk.lun_storage", "", kOvirt, kSource, kBlock, kFixed, "a direct LUN",
     "{disk}: it is a direct LUN '{lun}'", kDetachDisk},
    {"disk_attachment.disk.propagate_errors", "", kOvirt, kSource, kLog, kOverridable,
     "set, true or false", "{disk}: propagate_errors is {value}", ""},
    {"disk_attachment.disk.wipe_after_delete", "", kOvirt, kSource, kLog, kOverridable,
     "wiped after deletion", "{disk}: it is wiped after deletion", ""},
    {"disk_attachment.disk.status", "", kOvirt, kSource, kBlock, kFixed, "not ok",
     "{disk}: its status is '{status}'",
     "wait for the operation that locks the disk, or repair it"},
    {"disk_attachment.disk.storage_type", "", kOvirt, kSource, kBlock, kFixed, "not an image",
     "{disk}: its storage type is '{type}', not image", kDetachDisk},
    {"disk_attachment.disk.sgio", "", kOvirt, kSource, kBlock, kOverridable, "set and not disabled",
     "{disk}: SCSI pass-through is '{sgio}'", "turn off SCSI pass-through for the disk"},
    {"disk_attachment.disk.shareable", "", kOvirt, kSource, kBlock, kOverridable,
     "shared with another VM", "{disk}: it is shared with VM {vm}",
     "detach the disk from the other VMs"},
    {"disk_attachment.disk.shareable", "unknown", kOvirt, kSource, kWarn, kOverridable,
     "shareable, and the engine does not say with whom",
     "{disk}: it is shareable; a VM that shares it would not see the copy",
     "make sure that no other VM uses the disk"},
    {"disk_attachment.disk.provisioned_size", "", kOvirt, kSource, kBlock, kFixed, "no size",
     "{disk}: it has no size", kDetachDisk},
    {"disk_attachment.disk.format", "", kOvirt, kSource, kBlock, kFixed, "not cow or raw",
     "{disk}: its format '{format}' is not known", kDetachDisk},
    {"disk_attachment.disk.content_type", "", kOvirt, kSource, kBlock, kFixed, "not data",
     "{disk}: its content is '{content}', not data", kDetachDisk},
};

}  // namespace vmferry::rules
