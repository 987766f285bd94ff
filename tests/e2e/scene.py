"""One test's world: a home, and the peers that it asks for."""
import pytest

import peers
from bed import Vmferry, mapping, secret, storage_class, vm_import

WEB_UUID = "4210a0b1-c2d3-e4f5-0617-2839405a6b7c"
FAST_ENGINE = {"initializing_seconds": 0.1, "finalizing_seconds": 0.1, "unlock_seconds": 0.1, "monitor_seconds": 0.1}
VMWARE_MAPPINGS = mapping([({"name": "VM Network"}, "pod")], [({"name": "LocalDS_0"}, "standard")])
OVIRT_MAPPINGS = mapping([({"name": "ovirtmgmt/ovirtmgmt"}, "pod")], [({"name": "data"}, "standard")])


def vmware_vm(name, images, **changes):
    """A vcsim-bed VM whose disks hold these images."""
    vm = {"name": name, "guest_id": "rhel8_64Guest", "cpus": 2, "memory_mb": 1024, "firmware": "bios", "power": "off",
          "tools": "toolsOk", "host_name": f"{name}.example", "shutdown_seconds": 1,
          "disks": [{"size_bytes": path.stat().st_size, "image": str(path), "controller": "pvscsi", "thin": True}
                    for path in images],
          "nics": [{"type": "vmxnet3", "network": "VM Network", "mac": "00:50:56:aa:bb:01"}]}
    vm.update(changes)
    return vm


def ovirt_vm(name, images, **changes):
    """An engine's VM whose disks hold these images."""
    vm = {"name": name, "status": "down", "memory": 1 << 30, "cpu": {"sockets": 2, "cores": 1, "threads": 1},
          "bios_type": "q35_sea_bios", "os_type": "rhel_8x64", "shutdown_seconds": 0.5, "start_seconds": 0.3,
          "disks": [{"alias": f"{name}_Disk{number}", "image": str(path), "bootable": number == 1}
                    for number, path in enumerate(images, 1)],
          "nics": [{"name": "nic1"}]}
    vm.update(changes)
    return vm


class Scene:
    def __init__(self, directory, images):
        self.directory, self.images = directory, images
        self.pki = peers.make_pki(directory / "pki", "vcenter", "engine")
        self.ferry = Vmferry(directory / "home")
        self.running = []

    def vcenter(self, *vms, **inventory):
        inventory.setdefault("datacenter", "DC0")
        inventory.setdefault("datastore", "LocalDS_0")
        return self._start(peers.Vcenter, self.directory / f"vcenter-{len(self.running)}", self.pki, list(vms), **inventory)

    def engine(self, *vms, imageio="auto", host=None, told=False, apart=None, **bed):
        settings = dict(FAST_ENGINE, **bed.pop("engine", {}))
        return self._start(peers.OvirtEngine, self.directory / f"engine-{len(self.running)}", self.pki,
                           dict({"engine": settings, "vms": list(vms)}, **bed), imageio, host, told, apart)

    def ovirt_host(self):
        """For engine(apart=...): the real daemon in a process of its own, so that engine and host die one by one."""
        return self._start(peers.OvirtHost, self.directory / f"host-{len(self.running)}", self.pki)

    def nbd(self, directory, **options):
        return self._start(peers.NbdServer, directory, self.directory / f"nbd-{len(self.running)}.log", **options)

    def _start(self, kind, *arguments, **options):
        """A peer that ends with the test; without its program the test is skipped by name."""
        try:
            peer = kind(*arguments, **options)
        except peers.Missing as error:
            pytest.skip(str(error))
        self.running.append(peer)
        return peer

    def base(self, provider=None, **changes):
        """The default storage class and the secret "source" of the provider."""
        trees = [storage_class("standard", "volumes", default=True)]
        if provider is not None:
            kind = "vmware" if isinstance(provider, peers.Vcenter) else "ovirt"
            trees.append(secret("source", kind, provider.secret(**changes)))
        self.ferry.apply(*trees)

    def vmware_import(self, name, vm=None, **options):
        options.setdefault("mappings", VMWARE_MAPPINGS)
        self.ferry.apply(vm_import(name, "vmware", vm or {"name": name}, "source", **options))

    def ovirt_import(self, name, vm=None, **options):
        options.setdefault("mappings", OVIRT_MAPPINGS)
        self.ferry.apply(vm_import(name, "ovirt", vm or {"name": name, "cluster": {"name": "Default"}}, "source", **options))

    def close(self):
        self.ferry.down()
        for peer in reversed(self.running):
            peer.stop()
