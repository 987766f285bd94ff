"""oVirt, from applied YAML to verified disks and a manifest."""
import bed
from scene import OVIRT_MAPPINGS, ovirt_vm


def no_transfers_live(engine):
    return all(each["phase"] in ("finished_success", "finished_failure", "cancelled_system", "cancelled_user")
               for each in engine.state()["transfers"])


def test_a_vm_with_internal_mapping_ends_as_verified_disks(scene):
    images = [scene.images["bootable"], scene.images["sparse-data"]]
    engine = scene.engine(ovirt_vm("mail", images))
    scene.base(engine)
    scene.ferry.up(agents=2)
    scene.ovirt_import("mail")
    scene.ferry.wait_succeeded("mail")
    scene.ferry.check_disks("mail", images)
    assert no_transfers_live(engine)
    assert all(disk["status"] == "ok" for disk in engine.state()["disks"].values())


def test_a_vm_with_an_external_mapping_uses_it(scene):
    images = [scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("files", images))
    scene.base(engine)
    scene.ferry.apply(bed.resource_mapping("shared", "ovirt", OVIRT_MAPPINGS))
    scene.ferry.up(agents=1)
    scene.ovirt_import("files", {"id": engine.vm("files")["id"]}, mappings=None, external="shared")
    scene.ferry.wait_succeeded("files")
    scene.ferry.check_disks("files", images)


def test_a_running_vm_is_shut_down_and_stays_down(scene):
    """OV-131: its status is asked for until it is down, while the guest takes its time."""
    images = [scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("busy", images, status="up", shutdown_seconds=8))
    scene.base(engine)
    scene.ferry.up(agents=1)
    scene.ovirt_import("busy")
    scene.ferry.wait_succeeded("busy")
    scene.ferry.check_disks("busy", images)
    assert engine.power("busy") == "down"
    asked = [(each["method"], each["path"]) for each in engine.state()["requests"]]
    shutdown = next(at for at, (method, path) in enumerate(asked) if method == "POST" and path.endswith("/shutdown"))
    opened = next(at for at, (method, path) in enumerate(asked) if method == "POST" and "imagetransfers" in path)
    polls = [path for method, path in asked[shutdown:opened] if method == "GET" and "/vms/" in path]
    assert len(polls) >= 3, asked[shutdown:opened]
