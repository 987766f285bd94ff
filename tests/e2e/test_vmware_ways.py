"""How VMware disks are read, chosen by what is there: flat files, VDDK, export leases; and how the source is stopped."""
import json
import os
import pathlib
import signal
import time

import pytest

import bed
from scene import vmware_vm
from test_kill import under_way


def snapped(name, scene, images, **changes):
    """A VM whose disks are deltas of snapshots: the bases hold other bytes than `images`."""
    vm = vmware_vm(name, images, **changes)
    for disk, backing in zip(vm["disks"], ("delta", "sesparse")):
        base = scene.images["efi"]
        disk.update(backing=backing, current=disk["image"], image=str(base) if base.stat().st_size <= disk["size_bytes"] else "")
    return vm


def no_lease_left(vcenter, completed, aborted=0):
    leases = vcenter.state()["leases"]
    assert leases["live"] == [], leases
    assert (leases["completed"], leases["aborted"]) == (completed, aborted), leases


def test_disks_with_snapshots_are_read_as_the_guest_sees_them_by_one_export_lease(scene):
    images = [scene.images["dense"], scene.images["odd-size"]]
    vcenter = scene.vcenter(snapped("snapped", scene, images))
    scene.base(vcenter)
    scene.ferry.up(agents=2)
    scene.vmware_import("snapped")
    scene.ferry.wait_succeeded("snapped")
    for disk in scene.ferry.check_disks("snapped", images):
        assert "not resumable" in disk["sourcePath"] and "delta of a snapshot" in disk["sourcePath"], disk
    assert vcenter.state()["calls"]["ExportVm"] == 1
    no_lease_left(vcenter, completed=1)


def test_an_export_lease_is_kept_alive_while_its_disk_waits_for_an_agent(scene):
    images = [scene.images["dense"], scene.images["odd-size"]]
    vcenter = scene.vcenter(snapped("snapped", scene, images))
    vcenter.control("/lease", {"timeout_seconds": 3})
    scene.base(vcenter)
    scene.ferry.up(1, "5M")
    scene.vmware_import("snapped")
    scene.ferry.wait_succeeded("snapped")
    scene.ferry.check_disks("snapped", images)
    leases = vcenter.state()["leases"]
    assert leases["expired"] == 0 and leases["progress_calls"] > 3, leases
    no_lease_left(vcenter, completed=1)


def test_deleting_an_import_aborts_its_export_lease_once_and_starts_the_source(scene):
    vcenter = scene.vcenter(snapped("snapped", scene, [scene.images["dense"]], power="on"))
    scene.base(vcenter)
    scene.ferry.up(1, "4M")
    scene.vmware_import("snapped")
    scene.ferry.wait_for(lambda: scene.ferry.moved("snapped") > 4 << 20, 40, "the copy")
    scene.ferry.delete("import", "snapped")
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", "snapped") is None, 60, "the import's end")
    scene.ferry.wait_for(lambda: vcenter.power("snapped") == "on", 30, "the source's power")
    no_lease_left(vcenter, completed=0, aborted=1)
    assert scene.ferry.remains() == []


def test_a_broken_export_stream_is_begun_again(scene):
    images = [scene.images["dense"]]
    vcenter = scene.vcenter(snapped("snapped", scene, images))
    vcenter.control("/fault", {"folder": True, "path": "nfc/disk-0", "drop_after": 8 << 20, "times": 1})
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import("snapped")
    scene.ferry.wait_succeeded("snapped")
    disk, = scene.ferry.check_disks("snapped", images)
    assert disk["attempt"] == 2, disk
    no_lease_left(vcenter, completed=1)


def test_a_lease_that_runs_out_is_had_anew(scene):
    images = [scene.images["dense"]]
    vcenter = scene.vcenter(snapped("snapped", scene, images))
    scene.base(vcenter)
    scene.ferry.up(1, "12M")
    scene.vmware_import("snapped")
    under_way(scene, "snapped", 8 << 20)
    vcenter.control("/lease", {"expire": True})
    scene.ferry.wait_succeeded("snapped")
    scene.ferry.check_disks("snapped", images)
    leases = vcenter.state()["leases"]
    assert leases["begun"] == 2 and leases["completed"] == 1 and leases["live"] == [], leases


def test_a_killed_coordinator_finds_its_export_lease_again_or_has_it_anew(scene):
    images = [scene.images["dense"]]
    vcenter = scene.vcenter(snapped("snapped", scene, images))
    vcenter.control("/lease", {"timeout_seconds": 4})
    scene.base(vcenter)
    scene.ferry.up(1, "6M")
    scene.vmware_import("snapped")
    under_way(scene, "snapped", 8 << 20)
    scene.ferry.kill9("coordinator")
    scene.ferry.wait_succeeded("snapped", 120)
    scene.ferry.check_disks("snapped", images)
    scene.ferry.wait_for(lambda: all(each["state"] == "error" for each in vcenter.state()["leases"]["live"]), 20,
                         "the end of the old session's lease")


def test_vddk_is_chosen_where_an_agent_has_it_and_reads_deltas_and_flat_disks(scene, vddk):
    images = [scene.images["dense"], scene.images["sparse-data"], scene.images["odd-size"]]
    vm = snapped("mixed", scene, images)
    vcenter = scene.vcenter(vm)
    options = vddk(vcenter, vm=vcenter.vm("mixed")["moref"])
    # The secret pins by SHA-256: what VDDK is told comes from the connection that this verified.
    scene.base(vcenter, thumbprint=vcenter.ready["thumbprint_sha256"])
    scene.ferry.up(2, None, *options)
    scene.ferry.wait_for(lambda: scene.ferry.agents() and all(each["vddk"] for each in scene.ferry.agents()), 20, "the agents")
    scene.vmware_import("mixed")
    scene.ferry.wait_succeeded("mixed")
    for disk in scene.ferry.check_disks("mixed", images):
        assert "VDDK" in disk["sourcePath"], disk
    calls = (scene.directory / "vddk/calls").read_text()
    assert calls.count("connect ") == 3 and calls.count("disconnect") == 3, calls
    assert "query-allocated" in calls
    assert vcenter.state()["leases"]["begun"] == 0
    secrets = calls + "".join(path.read_text(errors="replace") for path in (scene.ferry.home / "log").glob("*.log"))
    assert vcenter.password not in secrets


def test_vddk_that_loses_sessions_and_a_host_short_of_memory_are_healed(scene, vddk):
    images = [scene.images["dense"]]
    vcenter = scene.vcenter(vmware_vm("web", images))
    options = vddk(vcenter, vm=vcenter.vm("web")["moref"], lose_session_after=20, largest_read=512 << 10)
    scene.base(vcenter)
    scene.ferry.up(1, None, *options)
    scene.ferry.wait_for(lambda: scene.ferry.agents() and scene.ferry.agents()[0]["vddk"], 20, "the agent")
    scene.vmware_import("web")
    scene.ferry.wait_succeeded("web", 150)
    disk, = scene.ferry.check_disks("web", images)
    assert "VDDK" in disk["sourcePath"], disk
    calls = (scene.directory / "vddk/calls").read_text()
    assert calls.count("read refused") >= 1 and calls.count("open ") >= 2, calls[-2000:]
    assert calls.count("connect server=") == calls.count("disconnect"), "every session is ended"


def test_a_wrong_password_for_vddk_fails_the_import_and_leaves_nothing(scene, vddk):
    vcenter = scene.vcenter(vmware_vm("web", [scene.images["odd-size"]], power="on"))
    options = vddk(vcenter, password="another")
    scene.base(vcenter)
    scene.ferry.up(1, None, *options)
    scene.ferry.wait_for(lambda: scene.ferry.agents() and scene.ferry.agents()[0]["vddk"], 20, "the agent")
    scene.vmware_import("web")
    failed = scene.ferry.wait_condition("web", "Succeeded", "False", timeout=60)
    assert "VMF-SRC-AUTH" in failed["message"], failed
    scene.ferry.wait_for(lambda: vcenter.power("web") == "on", 30, "the source's power")
    assert scene.ferry.list("claims") == [] or scene.ferry.wait_for(lambda: scene.ferry.list("claims") == [], 30)


def test_a_guest_that_does_not_shut_down_has_its_power_cut_if_the_import_says_so(scene):
    images = [scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("deaf", images, power="on", shutdown_seconds=-1))
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import("deaf", annotations={bed.PREFIX + "power-off-after": "3s"})
    scene.ferry.wait_succeeded("deaf")
    scene.ferry.check_disks("deaf", images)
    assert vcenter.power("deaf") == "off"
    assert vcenter.state()["calls"]["PowerOffVM_Task"] >= 1
    assert "SourcePoweredOff" in scene.ferry.run("get", "events", "-o", "yaml")


def test_a_guest_that_does_not_shut_down_keeps_its_power_otherwise(scene):
    vcenter = scene.vcenter(vmware_vm("deaf", [scene.images["odd-size"]], power="on", shutdown_seconds=-1))
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import("deaf")
    scene.ferry.wait_condition("deaf", "Processing", "True", "Pending")
    time.sleep(5)
    assert vcenter.power("deaf") == "on"
    scene.ferry.delete("import", "deaf")
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", "deaf") is None, 90, "the import's end")
    assert vcenter.power("deaf") == "on"


def test_a_source_started_and_stopped_while_the_coordinator_was_down_is_copied_from_the_start(scene):
    images = [scene.images["dense"]]
    vcenter = scene.vcenter(vmware_vm("sly", images))
    scene.base(vcenter)
    scene.ferry.up(1, "6M")
    scene.vmware_import("sly")
    under_way(scene, "sly", 16 << 20)
    scene.ferry.supervisor.child.send_signal(signal.SIGSTOP)
    try:
        scene.ferry.kill9("coordinator")
        vcenter.control("/vm", {"name": "sly", "power": "on"})
        # What the guest writes meanwhile is of a part that was copied long ago. The file's time is put back, so that
        # nobody but the coordinator can see it.
        disk = pathlib.Path(vcenter.vm("sly")["disks"][0]["path"])
        times = disk.stat()
        with open(disk, "r+b") as file:
            file.write(os.urandom(4096))
        os.utime(disk, ns=(times.st_atime_ns, times.st_mtime_ns))
        vcenter.control("/vm", {"name": "sly", "power": "off", "set": {"config.changeVersion": "2"}})
    finally:
        scene.ferry.supervisor.child.send_signal(signal.SIGCONT)
    scene.ferry.wait_for(lambda: "SourceChanged" in scene.ferry.run("get", "events", "-o", "yaml"), 60, "the discovery")
    scene.ferry.run("limit", "off")
    scene.ferry.wait_succeeded("sly")
    scene.ferry.check_disks("sly", [disk])


def blocking(scene, name):
    """The rules that block the import, and what they say."""
    findings = (scene.ferry.get("imports", name).get("status") or {}).get("findings") or []
    return {each["rule"]: each for each in findings if each["level"].lower() == "block"}


@pytest.mark.parametrize("disk, way, reason", [
    ({"backing": "delta"}, "https", "delta of a snapshot"),
    ({"key_id": "key-1"}, "export", "encrypted"),
    ({"key_id": "key-1"}, "https", "encrypted"),
    ({}, "vddk", "no agent has VDDK")])
def test_a_way_that_cannot_be_gone_blocks_before_the_source_is_stopped(scene, disk, way, reason):
    image = scene.images["odd-size"]
    vm = vmware_vm("web", [image], power="on")
    if disk.get("backing"):
        vm["disks"][0].update(current=str(image), image="")
    vm["disks"][0].update(disk)
    vcenter = scene.vcenter(vm)
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import("web", annotations={bed.DISK_SOURCES: json.dumps({"Hard disk 1": way})})
    finding = scene.ferry.wait_for(lambda: blocking(scene, "web").get("vmware.disk.backing"), 40, "the finding")
    assert reason in finding["text"] and f"'{way}'" in finding["text"] and "Hard disk 1" in finding["text"], finding
    assert "leave the choice" in finding["remedy"], finding
    told = scene.ferry.try_run("validate", "web")
    assert told.returncode == 1 and "vmware.disk.backing" in told.stdout, told
    assert reason in " ".join(told.stdout.split()), told
    time.sleep(6)  # it is looked at again in between
    assert vcenter.power("web") == "on"
    calls = vcenter.state()["calls"]
    assert not {"ShutdownGuest", "PowerOffVM_Task", "ExportVm"} & set(calls), calls
    assert scene.ferry.list("claims") == []
    if disk.get("key_id"):
        return
    # Asked for what can be had, it goes on by itself.
    scene.vmware_import("web", annotations={bed.DISK_SOURCES: json.dumps({"Hard disk 1": "export"})})
    scene.ferry.wait_succeeded("web")
    scene.ferry.check_disks("web", [image])
    no_lease_left(vcenter, completed=1)


def test_encrypted_disks_are_copied_where_an_agent_has_vddk(scene, vddk):
    images = [scene.images["odd-size"], scene.images["sparse-data"]]
    vm = vmware_vm("secret", images, power="on", extra={"config.keyId.keyId": "key-1"})
    for disk in vm["disks"]:
        disk["key_id"] = "key-1"
    vcenter = scene.vcenter(vm)
    options = vddk(vcenter, vm=vcenter.vm("secret")["moref"])
    scene.base(vcenter)
    scene.ferry.up(1, None, *options)
    scene.ferry.wait_for(lambda: scene.ferry.agents() and scene.ferry.agents()[0]["vddk"], 20, "the agent")
    scene.vmware_import("secret")
    scene.ferry.wait_succeeded("secret")
    for disk in scene.ferry.check_disks("secret", images):
        assert "VDDK" in disk["sourcePath"], disk
    found = [each for each in scene.ferry.get("imports", "secret")["status"]["findings"] if each["rule"] == "vmware.vm.encryption"]
    assert len(found) == 3 and {each["level"].lower() for each in found} == {"warn"}, found
    calls = (scene.directory / "vddk/calls").read_text()
    assert calls.count("connect server=") == calls.count("disconnect") == 2, calls
