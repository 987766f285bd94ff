"""Deleting an import: in the middle everything is undone, afterwards everything stays."""
import bed
from ovirt_world import all_closed, nothing_left, runs_again
from scene import OVIRT_MAPPINGS, ovirt_vm, vmware_vm


def test_deleted_mid_copy_leaves_nothing_and_the_source_runs_again(scene):
    images = [scene.images["dense"]]
    vcenter = scene.vcenter(vmware_vm("busy", images, power="on"))
    scene.base(vcenter)
    scene.ferry.up(2, "4M")
    scene.vmware_import("busy")
    scene.ferry.wait_for(lambda: scene.ferry.moved("busy") > 4 << 20, 40, "the copy")
    assert vcenter.power("busy") == "off"
    scene.ferry.delete("import", "busy")
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", "busy") is None, 60, "the import's end")
    scene.ferry.wait_for(lambda: vcenter.power("busy") == "on", 30, "the source's power")
    assert scene.ferry.get("vms", "busy") is None
    assert scene.ferry.list("claims") == []
    assert scene.ferry.remains() == []


def test_an_ovirt_import_deleted_mid_copy_leaves_no_transfer(scene):
    images = [scene.images["dense"]]
    engine = scene.engine(ovirt_vm("busy", images, status="up"))
    scene.base(engine)
    scene.ferry.up(1, "4M")
    scene.ovirt_import("busy")
    scene.ferry.wait_for(lambda: scene.ferry.moved("busy") > 4 << 20, 40, "the copy")
    scene.ferry.delete("import", "busy")
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", "busy") is None, 60, "the import's end")
    all_closed(scene, engine)
    runs_again(scene, engine, "busy")
    nothing_left(scene)


def test_deleted_after_success_leaves_vm_and_disks(scene):
    """LC-107"""
    images = [scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("kept", images))
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import("kept")
    scene.ferry.wait_succeeded("kept")
    disks = scene.ferry.check_disks("kept", images)
    scene.ferry.delete("import", "kept")
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", "kept") is None, 30, "the import's end")
    assert scene.ferry.get("vms", "kept") is not None
    assert scene.ferry.claim_path(disks[0]["claim"]).is_file()


def test_stopping_vmferry_ends_its_sessions_at_the_sources(scene):
    images = [scene.images["odd-size"]]
    vcenter, engine = scene.vcenter(vmware_vm("one", images)), scene.engine(ovirt_vm("two", images))
    scene.base(vcenter)
    scene.ferry.apply(bed.secret("engine", "ovirt", engine.secret()))
    scene.ferry.up(agents=1)
    scene.vmware_import("one")
    scene.ferry.apply(bed.vm_import("two", "ovirt", {"name": "two", "cluster": {"name": "Default"}}, "engine", OVIRT_MAPPINGS))
    scene.ferry.wait_succeeded("one")
    scene.ferry.wait_succeeded("two")
    scene.ferry.down()
    assert vcenter.state()["sessions"] == 0
    assert engine.state()["sessions"]["alive"] == 0


def test_deleted_with_its_secret_in_mid_shutdown_it_starts_the_source_again(scene):
    """What `kubectl delete -f` does to a file that holds both. The shutdown lasts until the secret would be read again."""
    engine = scene.engine(ovirt_vm("busy", [scene.images["dense"]], status="up", shutdown_seconds=30))
    scene.base(engine)
    scene.ferry.up(1)
    scene.ovirt_import("busy")
    scene.ferry.wait_for(lambda: engine.power("busy") == "powering_down", 60, "the shutdown")
    scene.ferry.delete("secret", "source")
    scene.ferry.delete("import", "busy")
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", "busy") is None, 120, "the import's end")
    all_closed(scene, engine)
    runs_again(scene, engine, "busy")
    nothing_left(scene)
