"""What the demo imports from, and the YAML that asks for it: four VMs with seven disks."""
import pathlib

import peers
from bed import DISK_SOURCES, documents, mapping, resource_mapping, secret, storage_class, vm_import

SCALE = 1.5
IMAGES = ("bootable", "dense", "sparse-data", "efi")
WEB_UUID = "4204cdd7-7e62-f1f4-4e3f-0a2b3c4d5e6f"
ENDED = ("finished_success", "finished_failure", "cancelled_system", "cancelled_user")


def vmware_vm(name, images, number, **changes):
    return dict({"name": name, "folder": "demo", "guest_id": "rhel8_64Guest", "cpus": 2, "memory_mb": 2048, "power": "on",
                 "tools": "toolsOk", "host_name": f"{name}.example", "shutdown_seconds": 2, "firmware": "bios",
                 "disks": [{"size_bytes": path.stat().st_size, "image": str(path), "controller": "pvscsi", "thin": True}
                           for path in images],
                 "nics": [{"type": "vmxnet3", "network": "VM Network", "mac": f"00:50:56:aa:bb:{number:02x}"}]}, **changes)


class World:
    """Use it as a context manager: what it started ends with it."""

    def __init__(self, directory, images):
        self.directory = pathlib.Path(directory)
        self.sources = {"web": [images["bootable"], images["dense"]], "database": [images["sparse-data"]],
                        "mail": [images["efi"], images["sparse-data"]], "archive": [images["bootable"], images["dense"]]}
        self.running = []
        try:
            self._start(images)
        except BaseException:
            self.__exit__()
            raise

    def _start(self, images):
        pki = peers.make_pki(self.directory / "pki", "vcenter", "engine")
        self.vcenter = peers.Vcenter(self.directory / "vcenter", pki, [
            vmware_vm("web", self.sources["web"], 1, uuid=WEB_UUID),
            vmware_vm("database", self.sources["database"], 2),
            vmware_vm("archive", self.sources["archive"], 3, power="off")], datacenter="DC0", datastore="datastore1")
        self.running.append(self.vcenter)
        disks = [{"alias": f"mail_Disk{number}", "image": str(path), "bootable": number == 1}
                 for number, path in enumerate(self.sources["mail"], 1)]
        self.engine = peers.OvirtEngine(self.directory / "engine", pki, {"vms": [
            {"name": "mail", "status": "up", "memory": 2 << 30, "os_type": "rhel_8x64", "bios_type": "q35_ovmf",
             "cpu": {"sockets": 2, "cores": 1, "threads": 1}, "shutdown_seconds": 2, "disks": disks,
             "nics": [{"name": "nic1"}]}]})
        self.running.append(self.engine)
        self.nbd = peers.NbdServer(images["dense"].parent, self.directory / "nbdkit.log")
        self.running.append(self.nbd)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        for peer in reversed(self.running):
            peer.stop()

    def story(self):
        return [f"vCenter   {self.vcenter.url}  web (2 disks, running), database (1 disk, running), archive (2 disks)",
                f"oVirt     {self.engine.url}  mail (2 disks, running), imageio: {self.engine.ready['imageio']}",
                f"NBD       {self.nbd.url('')}  the disks of archive, as a storage array would serve them"]

    def up_options(self):
        """nbdkit's file plugin stands in VDDK's place and reads the datastore's directory."""
        return ["--vddk-stand-in", "file", "--vddk-stand-in", f"file={self._flat_file()}"]

    def _flat_file(self):
        disk = self.vcenter.vm("database")["disks"][0]
        return disk["path"]

    def write_manifests(self, directory):
        """The YAML files, in the order in which they are applied."""
        directory.mkdir()
        vmware = mapping([({"name": "VM Network"}, "pod")], [({"name": "datastore1"}, "local")])
        ovirt = mapping([({"name": "ovirtmgmt/ovirtmgmt"}, "pod")], [({"name": "data"}, "local")])
        uris = {f"Hard disk {number}": self.nbd.url(path.name) for number, path in enumerate(self.sources["archive"], 1)}
        json_uris = "{" + ", ".join(f'"{name}": "{uri}"' for name, uri in uris.items()) + "}"
        files = {
            "10-storage-class.yaml": [storage_class("local", "volumes", default=True)],
            "20-secrets.yaml": [secret("vcenter", "vmware", self.vcenter.secret()), secret("engine", "ovirt", self.engine.secret())],
            "30-mapping.yaml": [resource_mapping("shared", "vmware", vmware)],
            "40-web.yaml": [vm_import("web", "vmware", {"id": WEB_UUID}, "vcenter", vmware, targetVmName="web",
                                      annotations={DISK_SOURCES: '{"*": "https"}'})],  # the stand-in knows one disk only
            "41-database.yaml": [vm_import("database", "vmware", {"name": "database"}, "vcenter", external="shared",
                                           annotations={DISK_SOURCES: '{"*": "vddk"}'})],
            "42-mail.yaml": [vm_import("mail", "ovirt", {"name": "mail", "cluster": {"name": "Default"}}, "engine", ovirt)],
            "43-archive.yaml": [vm_import("archive", "vmware", {"name": "archive"}, "vcenter", external="shared",
                                          annotations={DISK_SOURCES: json_uris})]}
        paths = []
        for name, trees in files.items():
            paths.append(directory / name)
            paths[-1].write_text(documents(*trees))
        return paths

    def left_behind(self):
        """What an import must not leave at its source, in words."""
        state = self.engine.state()
        left = [f"oVirt transfer {each['id']} is {each['phase']}" for each in state["transfers"] if each["phase"] not in ENDED]
        left += [f"oVirt disk {each['alias']} is {each['status']}" for each in state["disks"].values() if each["status"] != "ok"]
        return left
