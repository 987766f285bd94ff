"""What goes wrong at a vCenter while a disk is copied: healed, or failed with a code of the catalogue; nothing left behind."""
import json
import pathlib
import re
import signal
import time

import pytest

from scene import vmware_vm
from test_kill import under_way

CODE = re.compile(r"VMF-[A-Z]+(-[A-Z]+)+")


WAYS = {"flat": "HTTPS ranges", "vddk": "VDDK", "export": "NFC export stream"}
# By then a checkpoint was saved, so that there is something to resume; flat files come in large pieces.
CHECKPOINT = {"flat": 24 << 20, "vddk": 44 << 20, "export": 44 << 20}
every_way = pytest.mark.parametrize("way", WAYS)
# A leased VM cannot be started or deleted, at a real server neither.
without_lease = pytest.mark.parametrize("way", ["flat", "vddk"])


@pytest.fixture
def begin(scene, vddk):
    """Makes an import whose one disk is being copied in that way; the vCenter."""
    def start(way="flat", limit="6M", name="big", demands=(), at=None, **changes):
        scene.images_of, scene.way = [scene.images["dense"]], way
        vm = vmware_vm(name, scene.images_of, **changes)
        if way == "export":
            vm["disks"][0].update(backing="delta", current=vm["disks"][0]["image"], image="")
        vcenter = scene.vcenter(vm)
        options = vddk(vcenter, vm=vcenter.vm(name)["moref"], **dict(demands)) if way == "vddk" else []
        scene.base(vcenter)
        scene.ferry.up(1, limit, *options)
        scene.ferry.wait_for(lambda: [each for each in scene.ferry.agents() if each["vddk"] == (way == "vddk")], 60, "the agent")
        scene.vmware_import(name)
        under_way(scene, name, at or 8 << 20)
        disk, = scene.ferry.disks(name)
        assert WAYS[way] in disk["sourcePath"], disk
        return vcenter
    return start


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


@without_lease
@pytest.mark.parametrize("power", ["on", "off"])
def test_a_source_that_is_started_mid_copy_fails_the_import(scene, begin, way, power):
    vcenter = begin(way, power=power)
    vcenter.control("/vm", {"name": "big", "power": "on"})
    failed(scene, vcenter, "VMF-SRC-CHANGED")
    assert vcenter.power("big") == "on", "somebody else started it: it is left alone"


@without_lease
def test_a_source_that_is_deleted_mid_copy_fails_the_import(scene, begin, way):
    vcenter = begin(way, power="on")
    vcenter.control("/vm", {"name": "big", "destroy": True})
    if way == "flat":
        scene.ferry.run("limit", "off")
    failed(scene, vcenter, "VMF-SRC-VM-NOT-FOUND")
    assert "SourceNotRestored" in scene.ferry.run("get", "events", "-o", "yaml")


@every_way
def test_a_disk_that_grows_mid_copy_fails_the_import(scene, begin, way):
    vcenter = begin(way, power="on")
    vcenter.control("/vm", {"name": "big", "grow_bytes": 1 << 20})
    if way != "flat":  # nothing but a reopening looks at it
        scene.ferry.kill9("agent-1")
    scene.ferry.run("limit", "off")
    condition = scene.ferry.wait_condition("big", "Succeeded", "False", timeout=90)
    assert "VMF-SRC-CHANGED" in condition["message"], condition
    scene.ferry.wait_for(lambda: vcenter.power("big") == "on", 30, "the source's power")
    failed(scene, vcenter, "VMF-SRC-CHANGED")


@every_way
@pytest.mark.parametrize("what", ["session", "agent"])
def test_a_snapshot_taken_mid_copy_changes_nothing_and_is_left_alone(scene, begin, way, what):
    """The VM is off, so that the snapshot's delta holds nothing; each way is gone anew upon it."""
    vcenter = begin(way, power="on", at=CHECKPOINT[way])
    if way == "export":  # of which there is one at a time: it is over
        vcenter.control("/lease", {"expire": True})
    vcenter.control("/vm", {"name": "big", "snapshot": True})
    if what == "session":
        vcenter.control("/expire-sessions", {})
    else:
        scene.ferry.kill9("agent-1")
    disk, = healed(scene, snapshots=["somebody else's"])
    assert disk["attempt"] > 1 or what == "session", disk
    if way == "flat":
        assert disk["attempt"] == 1 or disk["resumedBytes"] > 0, disk


def test_a_disk_that_was_written_to_since_a_snapshot_mid_copy_waits_for_it_to_go(scene, begin):
    """What the base holds is not the disk any more."""
    vcenter = begin("flat")
    vcenter.control("/vm", {"name": "big", "snapshot": True, "written": True})
    vcenter.control("/expire-sessions", {})
    def told():
        text = json.dumps(scene.ferry.get("imports", "big")["status"]) + scene.ferry.story()
        return "snapshot" in text and "VMF-SRC-DISK-LOCKED" in text
    scene.ferry.wait_for(told, 60, "what it waits for")
    scene.ferry.delete("import", "big")
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", "big") is None, 60, "the import's end")
    nothing_left(scene, vcenter, ["somebody else's"])


@every_way
def test_a_harmless_change_of_the_source_mid_copy_restarts_nothing(scene, begin, way):
    """A note was edited: a new config.changeVersion, and the same disks."""
    begin(way, at=CHECKPOINT[way])
    scene.running[-1].control("/vm", {"name": "big", "set": {"config.changeVersion": "another", "config.annotation": "a note"}})
    scene.ferry.kill9("agent-1")
    scene.ferry.kill9("coordinator")
    scene.running[-1].control("/expire-sessions", {})  # the killed one's would live for half an hour
    scene.ferry.wait_for(lambda: any(each["connected"] for each in scene.ferry.agents()), 60, "both of them again")
    disk, = healed(scene)
    assert "SourceChanged" not in scene.ferry.run("get", "events", "-o", "yaml")
    if way != "export":
        assert disk["resumedBytes"] > 0, disk


@pytest.mark.parametrize("way", ["flat", "export"])
def test_a_datastore_that_answers_503_is_waited_for(scene, begin, way):
    vcenter = begin(way)
    vcenter.control("/fault", {"folder": True, "status": 503, "times": 6})
    healed(scene)


def test_a_datastore_that_is_inaccessible_for_a_while_is_waited_for(scene, begin):
    vcenter = begin()
    vcenter.control("/fault", {"folder": True, "status": 500})
    time.sleep(8)
    vcenter.control("/fault", {"clear": True})
    healed(scene)


def test_a_datastore_file_that_is_gone_fails_the_import_and_the_source_runs_again(scene, begin):
    vcenter = begin(power="on")
    vcenter.control("/delete-file", {"path": "big/big-flat.vmdk"})
    scene.ferry.run("limit", "off")
    scene.ferry.wait_for(lambda: vcenter.power("big") == "on", 90, "the source's power")
    failed(scene, vcenter, "VMF-SRC-DISK-MISSING")


@every_way
def test_a_host_that_is_unreachable_for_a_while_is_waited_for(scene, begin, way):
    vcenter = begin(way)
    vcenter.child.send_signal(signal.SIGSTOP)
    time.sleep(10)
    vcenter.child.send_signal(signal.SIGCONT)
    healed(scene)


@pytest.mark.parametrize("way", ["flat", "export"])
def test_a_restarted_vcenter_is_logged_in_to_again_and_the_copy_goes_on(scene, begin, way):
    """By VDDK it is the stand-in's disk that would go with the vCenter."""
    vcenter = begin(way)
    listen = vcenter.url.split("/")[2]
    moved = scene.ferry.moved("big")
    vcenter.stop()
    time.sleep(2)
    vm = vmware_vm("big", scene.images_of)
    if way == "export":
        vm["disks"][0].update(backing="delta", current=vm["disks"][0]["image"], image="")
    again = scene.vcenter(vm, listen=listen)
    disk, = healed(scene)
    assert disk["movedBytes"] >= moved
    assert again.state()["logins"] >= 1


@every_way
def test_sessions_that_end_mid_copy_are_made_again(scene, begin, way):
    vcenter = begin(way)
    before = vcenter.state()["logins"]
    vcenter.control("/expire-sessions", {})
    healed(scene)
    assert vcenter.state()["logins"] > before


def test_a_password_that_expires_mid_copy_fails_the_import_and_is_not_tried_again_and_again(scene, begin):
    vcenter = begin()
    vcenter.control("/fault", {"method": "Login", "fault": "InvalidLogin"})
    vcenter.control("/expire-sessions", {})
    logins = vcenter.state()["calls"]["Login"]
    scene.ferry.run("limit", "off")
    condition = scene.ferry.wait_condition("big", "Succeeded", "False", timeout=90)
    assert "VMF-SRC-AUTH" in condition["message"], condition
    assert vcenter.state()["calls"]["Login"] <= logins + 2, "a few refused logins lock the account"
    failed(scene, vcenter, "VMF-SRC-AUTH")


@pytest.mark.parametrize("way", ["vddk", "export"])
def test_a_password_that_expires_while_the_bytes_need_none_is_waited_for(scene, begin, way):
    """What reads the disk is logged in already; only the coordinator is refused."""
    vcenter = begin(way)
    vcenter.control("/fault", {"method": "Login", "fault": "InvalidLogin"})
    vcenter.control("/expire-sessions", {})
    scene.ferry.wait_for(lambda: "VMF-SRC-AUTH" in scene.ferry.conditions("big")["Processing"]["message"], 60, "the refusal")
    logins = vcenter.state()["calls"]["Login"]
    time.sleep(6)
    assert vcenter.state()["calls"]["Login"] == logins, "what was refused is not tried until the account is locked"
    vcenter.control("/fault", {"clear": True})
    scene.base(vcenter, thumbprint=vcenter.ready["thumbprint_sha256"])
    healed(scene)


def test_a_source_runs_again_once_its_expired_password_is_corrected(scene, begin):
    vcenter = begin(power="on")
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


def test_a_host_short_of_memory_for_reads_is_asked_for_less(scene, begin):
    """VSRC-46; what flat files take of a host has no such limit, and a stream is one request."""
    begin("vddk", None, demands={"largest_read": 256 << 10, "delay_us": 2000}.items())
    disk, = healed(scene)
    assert disk["attempt"] == 1, disk
    log = (scene.ferry.home / "log/agent-1.log").read_text()
    steps = [json.loads(line)["bytes"] for line in log.splitlines() if "the host is short of memory" in line]
    assert steps[:2] == [512 << 10, 256 << 10] and len(steps) <= 3, steps


def test_a_wrong_thumbprint_for_vddk_fails_the_import_and_the_source_runs_again(scene, vddk):
    """VSRC-10; of the other two ways the connection that the thumbprint is checked on comes first (test_bad_input.py)."""
    vcenter = scene.vcenter(vmware_vm("big", [scene.images["odd-size"]], power="on"))
    options = vddk(vcenter, thumbprint=":".join(["AB"] * 20))
    scene.base(vcenter)
    scene.ferry.up(1, None, *options)
    scene.ferry.wait_for(lambda: [each for each in scene.ferry.agents() if each["vddk"]], 60, "the agent")
    scene.vmware_import("big")
    scene.ferry.wait_condition("big", "Succeeded", "False", timeout=90)
    scene.ferry.wait_for(lambda: vcenter.power("big") == "on", 30, "the source's power")
    failed(scene, vcenter, "VMF-SRC-TLS")


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
