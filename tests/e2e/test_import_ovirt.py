"""oVirt, from applied YAML to verified disks and a manifest."""
import json

import bed
from ovirt_world import all_closed
from scene import OVIRT_MAPPINGS, ovirt_vm


def test_a_vm_with_internal_mapping_ends_as_verified_disks(scene):
    """LC-54, LC-100"""
    images = [scene.images["bootable"], scene.images["sparse-data"]]
    engine = scene.engine(ovirt_vm("mail", images))
    scene.base(engine)
    scene.ferry.up(agents=2)
    scene.ovirt_import("mail")
    scene.ferry.wait_succeeded("mail")
    scene.ferry.check_disks("mail", images)
    all_closed(scene, engine)
    scene.ferry.wait_for(lambda: not scene.ferry.get("imports", "mail")["metadata"].get("finalizers"), 20,
                         "the finalizers' end")


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


def test_lc130_and_133_vms_come_one_by_one_and_at_once_and_into_two_namespaces(scene):
    images = [scene.images["odd-size"], scene.images["sparse-data"]]
    engine = scene.engine(*(ovirt_vm(name, [image], nics=[]) for name, image in zip(("one", "two"), images)))
    scene.base(engine)
    scene.ferry.up(agents=2)
    for name in ("one", "two"):
        scene.ovirt_import(name)
    for name, image in zip(("one", "two"), images):
        scene.ferry.wait_succeeded(name)
        scene.ferry.check_disks(name, [image])
    # The same source with the same target name: in this namespace it is taken, in another it is free.
    scene.ovirt_import("again", {"name": "one", "cluster": {"name": "Default"}}, targetVmName="one")
    scene.ferry.wait_condition("again", "Valid", "False", "DuplicateTargetVMName")
    trees = [bed.secret("source", "ovirt", engine.secret()),
             bed.vm_import("one", "ovirt", {"name": "one", "cluster": {"name": "Default"}}, "source", OVIRT_MAPPINGS)]
    for tree in trees:
        tree["metadata"]["namespace"] = "lab"
    scene.ferry.apply(*trees)

    def done():
        everywhere = json.loads(scene.ferry.run("get", "imports", "-A", "-o", "json"))
        there = [each for each in everywhere["items"] if each["metadata"]["namespace"] == "lab"]
        conditions = ((there[0].get("status") or {}).get("conditions") or []) if there else []
        return [each for each in conditions if each["type"] == "Succeeded"]
    condition, = scene.ferry.wait_for(done, 60, "the import in the other namespace")
    assert condition["status"] == "True", condition
    assert [vm["metadata"]["name"] for vm in scene.ferry.list("vms")] == ["one", "two"]
    all_closed(scene, engine)
