"""What goes wrong at a vCenter while a disk is copied: healed, or failed with a code of the catalogue; nothing left behind."""
import pathlib
import re
import signal
import time

import pytest

from scene import Scene, vmware_vm
from test_kill import under_way

CODE = re.compile(r"VMF-[A-Z]+(-[A-Z]+)+")


def start(scene: Scene, limit="6M", name="big", **changes):
    """An import whose one disk is being copied; the vCenter."""
    scene.images_of = [scene.images["dense"]]
    vcenter = scene.vcenter(vmware_vm(name, scene.images_of, **changes))
    scene.base(vcenter)
    scene.ferry.up(1, limit)
    scene.vmware_import(name)
    under_way(scene, name, 8 << 20)
    return vcenter


def nothing_left(scene, vcenter, snapshots=()):
    """At the source: no lease, one session while VMFerry runs and none afterwards, and no snapshot but those of others."""
    state = vcenter.state()
    assert state["leases"]["live"] == [] and state["sessions"] <= 1, state
    left = [name for vm in state["vms"].values() for name in vm["snapshots"]]
    assert left == list(snapshots), state
    scene.ferry.down()
    assert vcenter.state()["sessions"] == 0


def healed(scene, name="big", timeout=120, snapshots=()):
    """The import succeeded all the same; its disks."""
    scene.ferry.run("limit", "off")
    scene.ferry.wait_succeeded(name, timeout)
    disks = scene.ferry.check_disks(name, scene.images_of)
    nothing_left(scene, scene.running[-1], snapshots)
    return disks


def failed(scene, vcenter, code, name="big", timeout=120):
    """The import ended with this code and no other, and was undone."""
    condition = scene.ferry.wait_condition(name, "Succeeded", "False", timeout=timeout)
    assert {found.group() for found in CODE.finditer(condition["message"])} == {code}, condition
    scene.ferry.wait_for(lambda: scene.ferry.list("claims") == [], 30, "the claims' end")
    scene.ferry.wait_for(lambda: scene.ferry.remains() == [], 30, "the end of the target's files")
    nothing_left(scene, vcenter)


@pytest.mark.parametrize("power", ["on", "off"])
def test_a_source_that_is_started_mid_copy_fails_the_import(scene, power):
    vcenter = start(scene, power=power)
    vcenter.control("/vm", {"name": "big", "power": "on"})
    failed(scene, vcenter, "VMF-SRC-CHANGED")
    assert vcenter.power("big") == "on", "somebody else started it: it is left alone"


def test_a_source_that_is_deleted_mid_copy_fails_the_import(scene):
    vcenter = start(scene, power="on")
    vcenter.control("/vm", {"name": "big", "destroy": True})
    scene.ferry.run("limit", "off")
    failed(scene, vcenter, "VMF-SRC-VM-NOT-FOUND")
    assert "SourceNotRestored" in scene.ferry.run("get", "events", "-o", "yaml")


def test_a_disk_that_grows_mid_copy_fails_the_import(scene):
    vcenter = start(scene, power="on")
    vcenter.control("/vm", {"name": "big", "grow_bytes": 1 << 20})
    scene.ferry.run("limit", "off")
    condition = scene.ferry.wait_condition("big", "Succeeded", "False", timeout=90)
    assert "VMF-SRC-CHANGED" in condition["message"], condition
    scene.ferry.wait_for(lambda: vcenter.power("big") == "on", 30, "the source's power")
    failed(scene, vcenter, "VMF-SRC-CHANGED")


def test_a_snapshot_taken_mid_copy_changes_nothing_and_is_left_alone(scene):
    vcenter = start(scene, power="on")
    vcenter.control("/vm", {"name": "big", "snapshot": True})
    healed(scene, snapshots=["somebody else's"])


def test_a_datastore_that_answers_503_is_waited_for(scene):
    vcenter = start(scene)
    vcenter.control("/fault", {"folder": True, "status": 503, "times": 6})
    healed(scene)


def test_a_datastore_that_is_inaccessible_for_a_while_is_waited_for(scene):
    vcenter = start(scene)
    vcenter.control("/fault", {"folder": True, "status": 500})
    time.sleep(8)
    vcenter.control("/fault", {"clear": True})
    healed(scene)


def test_a_datastore_file_that_is_gone_fails_the_import_and_the_source_runs_again(scene):
    vcenter = start(scene, power="on")
    vcenter.control("/delete-file", {"path": "big/big-flat.vmdk"})
    scene.ferry.run("limit", "off")
    scene.ferry.wait_for(lambda: vcenter.power("big") == "on", 90, "the source's power")
    failed(scene, vcenter, "VMF-SRC-DISK-MISSING")


def test_a_host_that_is_unreachable_for_a_while_is_waited_for(scene):
    vcenter = start(scene)
    vcenter.child.send_signal(signal.SIGSTOP)
    time.sleep(10)
    vcenter.child.send_signal(signal.SIGCONT)
    healed(scene)


def test_a_restarted_vcenter_is_logged_in_to_again_and_the_copy_goes_on(scene):
    vcenter = start(scene)
    listen = vcenter.url.split("/")[2]
    moved = scene.ferry.moved("big")
    vcenter.stop()
    time.sleep(2)
    again = scene.vcenter(vmware_vm("big", scene.images_of), listen=listen)
    disk, = healed(scene)
    assert disk["movedBytes"] >= moved
    assert again.state()["logins"] >= 1


def test_sessions_that_end_mid_copy_are_made_again(scene):
    vcenter = start(scene)
    before = vcenter.state()["logins"]
    vcenter.control("/expire-sessions", {})
    healed(scene)
    assert vcenter.state()["logins"] > before


def test_a_password_that_expires_mid_copy_fails_the_import_and_is_not_tried_again_and_again(scene):
    vcenter = start(scene)
    vcenter.control("/fault", {"method": "Login", "fault": "InvalidLogin"})
    vcenter.control("/expire-sessions", {})
    logins = vcenter.state()["calls"]["Login"]
    scene.ferry.run("limit", "off")
    condition = scene.ferry.wait_condition("big", "Succeeded", "False", timeout=90)
    assert "VMF-SRC-AUTH" in condition["message"], condition
    assert vcenter.state()["calls"]["Login"] <= logins + 2, "a few refused logins lock the account"
    failed(scene, vcenter, "VMF-SRC-AUTH")


def test_a_source_runs_again_once_its_expired_password_is_corrected(scene):
    vcenter = start(scene, power="on")
    vcenter.control("/fault", {"method": "Login", "fault": "InvalidLogin"})
    vcenter.control("/expire-sessions", {})
    scene.ferry.run("limit", "off")
    condition = scene.ferry.wait_condition("big", "Processing", "False", "ProcessingFailed", timeout=90)
    assert "VMF-SRC-AUTH" in condition["message"], condition
    logins = vcenter.state()["calls"]["Login"]
    time.sleep(6)
    assert vcenter.state()["calls"]["Login"] == logins, "what was refused is not tried until the account is locked"
    assert vcenter.power("big") == "off"
    vcenter.control("/fault", {"clear": True})
    scene.base(vcenter, thumbprint=vcenter.ready["thumbprint_sha256"])
    scene.ferry.wait_for(lambda: vcenter.power("big") == "on", 120, "the source's power")
    failed(scene, vcenter, "VMF-SRC-AUTH")


def test_a_host_with_no_stream_left_for_an_export_is_waited_for(scene):
    images = [scene.images["dense"], scene.images["odd-size"]]
    vm = vmware_vm("two", images)
    for disk in vm["disks"]:
        disk.update(backing="delta", current=disk.pop("image"))
    vcenter = scene.vcenter(vm)
    vcenter.control("/lease", {"streams": 1})
    scene.base(vcenter)
    scene.ferry.up(2, "20M")
    scene.vmware_import("two")
    scene.ferry.wait_succeeded("two", 120)
    scene.ferry.check_disks("two", images)
    leases = vcenter.state()["leases"]
    assert leases["live"] == [] and leases["completed"] == 1, leases
    nothing_left(scene, vcenter)


def test_a_lone_esxi_host_is_imported_from_as_well(scene):
    images = [scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("lone", images), host=True)
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import("lone")
    scene.ferry.wait_succeeded("lone")
    scene.ferry.check_disks("lone", images)
    assert pathlib.Path(vcenter.vm("lone")["disks"][0]["path"]).exists()
