"""VMware, from applied YAML to verified disks and a manifest."""
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
