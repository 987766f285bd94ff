"""Disks: their images, sizes and snapshots."""

import json
import os
import subprocess

import inventory

IMAGE_STORAGE = ("image", "managed_block_storage")


class Disk:
    """A virtual disk.

    status is `ok`, `locked` or `illegal`; transfers lock it. size is the virtual size the
    engine believes in, bytes. layers lists what can be transferred: the active volume
    first, then older snapshots of the disk from new to old.
    """

    KEYS = ("id", "alias", "name", "image", "format", "provisioned_size", "interface",
            "bootable", "storage_domain", "status", "storage_type", "actual_size", "sparse",
            "content_type", "read_only", "active", "snapshots", "image_id", "logical_name",
            "pass_discard", "uses_scsi_reservation", "shareable", "backup")

    def __init__(self, entry, vm, index, model):
        self.vm = vm
        owner = vm.name if vm else "disk"
        self.name = entry.get("alias") or entry.get("name") or "%s_Disk%d" % (owner, index + 1)
        self.id = entry.get("id") or inventory.identity("disk", vm.id if vm else "", self.name)
        self.storage_type = entry.get("storage_type", "image")
        self.format = entry.get("format", "raw")
        if self.format not in ("raw", "cow"):
            raise inventory.BadBed("disk %s: format is raw or cow" % self.name)
        self.status = entry.get("status", "ok")
        self.image = entry.get("image")
        if self.image:
            self.image = os.path.join(model.directory, self.image)
        elif self.storage_type in IMAGE_STORAGE and "provisioned_size" not in entry:
            raise inventory.BadBed("disk %s: give image or provisioned_size" % self.name)
        self.storage_domain = None
        if self.storage_type in IMAGE_STORAGE:
            wanted = entry.get("storage_domain", model.storage_domains[0].name)
            self.storage_domain = model.by_name("storage_domains", wanted)
        self.size = entry.get("provisioned_size")
        if self.size is None and self.image:
            self.size = virtual_size(self.image, self.format)
        self.attachment = {
            "active": entry.get("active", True), "bootable": entry.get("bootable", index == 0),
            "interface": entry.get("interface", "virtio_scsi"),
            "logical_name": entry.get("logical_name"),
            "pass_discard": entry.get("pass_discard", False),
            "read_only": entry.get("read_only", False),
            "uses_scsi_reservation": entry.get("uses_scsi_reservation", False)}
        self.image_id = entry.get("image_id") or inventory.identity("image", self.id)
        allocated = self._allocated(entry)
        self.tree = inventory.merge({
            "actual_size": allocated, "total_size": allocated, "initial_size": 0,
            "backup": entry.get("backup", "none"),
            "content_type": entry.get("content_type", "data"), "propagate_errors": False,
            "qcow_version": "qcow2_v3" if self.format == "cow" else None,
            "shareable": entry.get("shareable", False),
            "sparse": entry.get("sparse", True), "wipe_after_delete": False,
        }, {k: v for k, v in entry.items() if k not in self.KEYS})
        self.layers = [Layer(self, self.image_id, None, self.image, self.format)]
        for snapshot in entry.get("snapshots", []):
            path = os.path.join(model.directory, snapshot["image"])
            name = snapshot.get("id") or inventory.identity("disk_snapshot", self.id, path)
            self.layers.append(Layer(self, name, snapshot.get("snapshot"), path,
                                     snapshot.get("format", "cow")))

    def _allocated(self, entry):
        if "actual_size" in entry:
            return entry["actual_size"]
        if not self.image:
            return 0
        try:
            return os.stat(self.image).st_blocks * 512
        except OSError as error:
            raise inventory.BadBed("disk %s: %s" % (self.name, error)) from None


class Layer:
    """One volume of a disk: id is the disk snapshot id, snapshot that of the VM snapshot."""

    def __init__(self, disk, layer_id, snapshot, image, image_format):
        self.disk = disk
        self.id = layer_id
        self.snapshot = snapshot
        self.image = image
        self.format = image_format


def virtual_size(path, image_format):
    """Bytes the guest sees; raises BadBed when the image cannot be read as that format."""
    command = ["qemu-img", "info", "--force-share", "--output=json", "-f",
               "qcow2" if image_format == "cow" else "raw", path]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)
        return json.loads(done.stdout)["virtual-size"]
    except subprocess.CalledProcessError as error:
        raise inventory.BadBed(error.stderr.decode(errors="replace").strip()) from None
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        raise inventory.BadBed("cannot size %s: %s" % (path, error)) from None
