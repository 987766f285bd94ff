"""Stopping an oVirt VM for its import, and starting it again: guests that do not listen, backups, locks."""
import json
import time

import bed
from ovirt_world import all_closed, events, failed, nothing_left, requests, runs_again
from scene import ovirt_vm

POWER_OFF = bed.PREFIX + "power-off-after"


def action_fault(words):
    """A refused action in the engine's own shape."""
    return (f"<action><status>failed</status><fault><reason>Operation Failed</reason><detail>[{words}]</detail></fault>"
            "</action>")


def posts(engine, action):
    return len(requests(engine, "POST", "/" + action))


def deleted(scene, name):
    scene.ferry.delete("import", name)
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", name) is None, 90, "the import's end")


def test_a_guest_that_hangs_has_its_power_cut_if_the_import_says_so(scene):
    images = [scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("deaf", images, status="up", shutdown_seconds="never"))
    scene.base(engine)
    scene.ferry.up(1)
    scene.ovirt_import("deaf", annotations={POWER_OFF: "3s"})
    scene.ferry.wait_succeeded("deaf")
    scene.ferry.check_disks("deaf", images)
    assert engine.power("deaf") == "down"
    assert (posts(engine, "shutdown"), posts(engine, "stop"), posts(engine, "start")) == (1, 1, 0)
    assert "SourcePoweredOff" in events(scene)
    all_closed(scene, engine)


def test_a_guest_that_ignores_the_request_has_its_power_cut_if_the_import_says_so(scene):
    images = [scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("deaf", images, status="up", shutdown_seconds="ignored"))
    scene.base(engine)
    scene.ferry.up(1)
    scene.ovirt_import("deaf", annotations={POWER_OFF: "3s"})
    scene.ferry.wait_succeeded("deaf")
    scene.ferry.check_disks("deaf", images)
    assert (engine.power("deaf"), posts(engine, "stop")) == ("down", 1)
    all_closed(scene, engine)


def test_a_power_cut_is_made_good_when_the_import_is_deleted(scene):
    engine = scene.engine(ovirt_vm("deaf", [scene.images["dense"]], status="up", shutdown_seconds="ignored"))
    scene.base(engine)
    scene.ferry.up(1, "4M")
    scene.ovirt_import("deaf", annotations={POWER_OFF: "2s"})
    scene.ferry.wait_for(lambda: scene.ferry.moved("deaf") > 4 << 20, 60, "the copy")
    assert engine.power("deaf") == "down"
    deleted(scene, "deaf")
    runs_again(scene, engine, "deaf")
    assert (posts(engine, "stop"), posts(engine, "start")) == (1, 1)
    all_closed(scene, engine)
    nothing_left(scene)


def test_lc111_a_guest_that_does_not_shut_down_keeps_its_power_otherwise(scene):
    engine = scene.engine(ovirt_vm("deaf", [scene.images["odd-size"]], status="up", shutdown_seconds="ignored"))
    scene.base(engine)
    scene.ferry.up(1)
    scene.ovirt_import("deaf")
    waiting = scene.ferry.wait_condition("deaf", "Processing", "True", "Pending")
    assert "Shutting down" in waiting["message"], waiting
    time.sleep(5)  # nothing may happen in this time
    assert engine.power("deaf") == "up"
    assert (posts(engine, "shutdown"), posts(engine, "stop")) == (1, 0), "asked once, and never cut"
    nothing_left(scene)
    assert engine.state()["transfers"] == []
    deleted(scene, "deaf")
    assert engine.power("deaf") == "up"


def test_a_vm_that_a_backup_holds_is_asked_to_shut_down_again(scene):
    images = [scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("held", images, status="up"))
    scene.base(engine)
    engine.control("/fault", {"path_regex": "/shutdown$", "method": "POST", "times": 2, "status": 409, "body": action_fault(
        "Cannot shutdown VM. Related operation is currently in progress: backup. Please try again later.")})
    scene.ferry.up(1)
    scene.ovirt_import("held")
    scene.ferry.wait_succeeded("held")
    scene.ferry.check_disks("held", images)
    assert posts(engine, "shutdown") == 3 and engine.power("held") == "down"
    all_closed(scene, engine)


def test_lc110_a_source_whose_disks_are_locked_is_started_when_they_are_free(scene):
    engine = scene.engine(ovirt_vm("busy", [scene.images["dense"]], status="up"))
    scene.base(engine)
    scene.ferry.up(1, "4M")
    scene.ovirt_import("busy")
    scene.ferry.wait_for(lambda: scene.ferry.moved("busy") > 4 << 20, 60, "the copy")
    engine.control("/fault", {"path_regex": "/start$", "method": "POST", "times": 3, "status": 409, "body": action_fault(
        "Cannot run VM: The following disks are locked: busy_Disk1. Please try again in a few minutes.")})
    deleted(scene, "busy")
    runs_again(scene, engine, "busy")
    assert posts(engine, "start") == 4
    all_closed(scene, engine)
    nothing_left(scene)


def test_lc109_a_source_that_ran_runs_again_when_its_import_fails(scene):
    """LC-55: the transfer fails for good"""
    engine = scene.engine(ovirt_vm("busy", [scene.images["dense"]], status="up"), imageio="builtin")
    scene.base(engine)
    scene.ferry.up(1, "4M")
    scene.ovirt_import("busy")
    scene.ferry.wait_for(lambda: scene.ferry.moved("busy") > 4 << 20, 60, "the copy")
    engine.control("/imageio-fault", {"kind": "status", "status": 416, "times": 0})
    failed(scene, engine, "busy", "VMF-SRC-CHANGED", "busy_Disk1")
    runs_again(scene, engine, "busy")
    assert posts(engine, "start") == 1
    ledger = json.loads(scene.ferry.get("imports", "busy")["metadata"]["annotations"].get(bed.PREFIX + "ledger", "{}"))
    assert not ledger.get("openings"), ledger
