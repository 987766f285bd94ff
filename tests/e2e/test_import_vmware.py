"""VMware, from applied YAML to verified disks and a manifest."""
import json
import os
import pathlib

import bed
from scene import VMWARE_MAPPINGS, WEB_UUID, vmware_vm


def test_a_vm_found_by_uuid_with_internal_mapping_ends_as_verified_disks_and_a_manifest(scene):
    images = [scene.images["bootable"], scene.images["sparse-data"]]
    vcenter = scene.vcenter(vmware_vm("web01", images, uuid=WEB_UUID))
    scene.base(vcenter)
    scene.ferry.up(agents=2)
    scene.vmware_import("web", {"id": WEB_UUID}, targetVmName="web")
    done = scene.ferry.wait_succeeded("web")
    assert done["reason"] == "VirtualMachineReady"
    scene.ferry.check_disks("web", images)
    found = scene.ferry.get("imports", "web")
    assert found["metadata"]["annotations"][bed.PREFIX + "progress"] == "100"
    assert found["status"]["targetVmName"] == "web"
    vm = scene.ferry.get("vms", "web")
    assert len(vm["spec"]["template"]["spec"]["volumes"]) == 2
    manifest = scene.ferry.wait_for(lambda: list((scene.ferry.home / "volumes").rglob("web.yaml")), 10, "the manifest")
    assert "kind: VirtualMachine" in pathlib.Path(manifest[0]).read_text()


def test_a_vm_found_by_name_with_external_mapping_ends_as_verified_disks(scene):
    images = [scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("db01", images))
    scene.base(vcenter)
    scene.ferry.apply(bed.resource_mapping("shared", "vmware", VMWARE_MAPPINGS))
    scene.ferry.up(agents=1)
    scene.vmware_import("db01", mappings=None, external="shared")
    scene.ferry.wait_succeeded("db01")
    scene.ferry.check_disks("db01", images)


def test_a_running_vm_is_shut_down_first_and_stays_down(scene):
    images = [scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("busy", images, power="on"))
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import("busy")
    scene.ferry.wait_succeeded("busy")
    scene.ferry.check_disks("busy", images)
    assert vcenter.power("busy") == "off"


def test_two_disks_of_one_vm_are_copied_at_once_by_different_agents(scene):
    images = [scene.images["dense"], scene.images["dense"]]
    vcenter = scene.vcenter(vmware_vm("big", images))
    scene.base(vcenter)
    scene.ferry.up(2, "16M")
    scene.vmware_import("big")

    def both_run():
        running = [each for each in scene.ferry.transfers("big") if each["status"]["movedBytes"] > 0
                   and each["state"].lower() == "running"]
        return {each["agent"] for each in running} if len(running) == 2 else None
    assert len(scene.ferry.wait_for(both_run, 30, "two disks on the move")) == 2
    scene.ferry.wait_succeeded("big")
    scene.ferry.check_disks("big", images)


def test_a_disk_override_is_read_from_an_nbd_server(scene):
    images = [scene.images["bootable"], scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("mixed", images))
    server = scene.nbd(images[0].parent)
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import("mixed", annotations={
        bed.DISK_SOURCES: json.dumps({"Hard disk 1": server.url(images[0].name)})})
    scene.ferry.wait_succeeded("mixed")
    first, second = scene.ferry.check_disks("mixed", images)
    assert first["virtualBytes"] == images[0].stat().st_size and second["virtualBytes"] == images[1].stat().st_size


def test_the_vddk_way_reads_through_an_nbdkit_child(scene):
    images = [scene.images["bootable"], scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("vddk", images))
    # The stand-in serves a directory whose files are named as VDDK would be told.
    served = scene.directory / "served"
    for disk, image in zip(vcenter.vm("vddk")["disks"], images):
        path = served / disk["file"].split("] ", 1)[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(image, path)
    scene.base(vcenter)
    scene.ferry.up(1, None, "--vddk-stand-in", "file", "--vddk-stand-in", f"file={served}/{{path}}")
    scene.vmware_import("vddk", annotations={bed.DISK_SOURCES: '{"*": "vddk"}'})
    scene.ferry.wait_succeeded("vddk")
    scene.ferry.check_disks("vddk", images)
    # The provider reads each disk's descriptor, a few hundred bytes, to know the disk.
    assert vcenter.state()["folder"]["bytes"] < 64 << 10, "disk bytes came over HTTPS"


def test_start_vm_leaves_a_running_vm(scene):
    images = [scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("started", images))
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import("started", startVm=True)
    scene.ferry.wait_succeeded("started")
    spec = scene.ferry.get("vms", "started")["spec"]
    assert spec.get("running") is True or spec.get("runStrategy") in ("Always", "RerunOnFailure"), spec


def test_the_tracker_label_is_on_vm_and_claims(scene):
    images = [scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("tracked", images))
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import("tracked", labels={bed.TRACKER: "wave-7"})
    scene.ferry.wait_succeeded("tracked")
    vm = scene.ferry.get("vms", "tracked")
    assert vm["metadata"]["labels"][bed.TRACKER] == "wave-7"
    for disk in scene.ferry.disks("tracked"):
        assert scene.ferry.get("claims", disk["claim"])["metadata"]["labels"][bed.TRACKER] == "wave-7"
