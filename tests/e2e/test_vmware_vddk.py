"""Disks that are read by VDDK, and what goes wrong with it in the middle. The library is the stand-in of tests/support/vddk."""
import signal

import pytest

from scene import vmware_vm
from test_kill import under_way


def encrypted(name, images, **changes):
    """A VM that nothing but VDDK can read."""
    vm = vmware_vm(name, images, extra={"config.keyId.keyId": "key-1"}, **changes)
    for disk in vm["disks"]:
        disk["key_id"] = "key-1"
    return vm


def with_vddk(scene, count=1):
    scene.ferry.wait_for(lambda: sum(each["vddk"] and each["connected"] for each in scene.ferry.agents()) == count, 60,
                         "the agents with VDDK")


def begin(scene, vddk, vm, limit="6M", at=44 << 20, **demands):
    """An import of the VM's one disk, which is being copied, a checkpoint saved; the vCenter."""
    vcenter = scene.vcenter(vm)
    options = vddk(vcenter, vm=vcenter.vm(vm["name"])["moref"], **demands)
    scene.base(vcenter)
    scene.ferry.up(1, limit, *options)
    with_vddk(scene)
    scene.vmware_import(vm["name"])
    under_way(scene, vm["name"], at)
    return vcenter


@pytest.mark.parametrize("victim", ["agent-1", "coordinator"])
def test_an_encrypted_disk_goes_on_by_vddk_after_a_kill(scene, vddk, victim):
    images = [scene.images["dense"]]
    vcenter = begin(scene, vddk, encrypted("secret", images))
    moved = scene.ferry.moved("secret")
    # The supervisor starts nothing again until the others have noticed.
    supervisor = scene.ferry.supervisor.child
    supervisor.send_signal(signal.SIGSTOP)
    try:
        scene.ferry.kill9(victim)
        if victim == "agent-1":
            scene.ferry.wait_for(lambda: "is read by VDDK" in scene.ferry.conditions("secret")["Processing"]["message"], 60,
                                 "what the disk waits for")
            message = scene.ferry.conditions("secret")["Processing"]["message"]
            assert "'Hard disk 1'" in message and "--vddk-libdir" in message, message
    finally:
        supervisor.send_signal(signal.SIGCONT)
    scene.ferry.wait_for(lambda: scene.ferry.moved("secret") >= moved, 60, "the copy that goes on")
    scene.ferry.run("limit", "off")
    scene.ferry.wait_succeeded("secret", 120)
    disk, = scene.ferry.check_disks("secret", images)
    assert "an agent has VDDK" in disk["sourcePath"], disk
    if victim == "agent-1":
        assert disk["attempt"] == 2 and disk["resumedBytes"] > 0, disk
    assert vcenter.state()["leases"]["begun"] == 0


def test_a_disk_that_is_read_by_vddk_stays_with_it_while_agents_without_it_are_there(scene, vddk):
    """Both ends are killed; an agent without VDDK is the only one when the coordinator comes back."""
    images = [scene.images["dense"]]
    begin(scene, vddk, vmware_vm("web", images))
    scene.ferry.kill9_all()
    scene.ferry.up(1)
    scene.ferry.wait_for(lambda: "is read by VDDK" in scene.ferry.conditions("web")["Processing"]["message"], 60,
                         "what the disk waits for")
    scene.ferry.down()
    scene.ferry.up(1, None, *scene.vddk_options)
    scene.ferry.wait_succeeded("web", 120)
    disk, = scene.ferry.check_disks("web", images)
    assert "an agent has VDDK" in disk["sourcePath"] and disk["resumedBytes"] > 0, disk


def test_an_nbdkit_that_hangs_is_killed_and_the_copy_goes_on_where_it_was(scene, vddk):
    images = [scene.images["dense"]]
    vcenter = scene.vcenter(vmware_vm("web", images))
    options = vddk(vcenter, vm=vcenter.vm("web")["moref"], hang_after=20, hang_once=scene.directory / "hung")
    scene.base(vcenter)
    scene.ferry.up(1, None, *options, "--nbdkit-silence", 3)
    with_vddk(scene)
    scene.vmware_import("web")
    scene.ferry.wait_succeeded("web", 90)
    disk, = scene.ferry.check_disks("web", images)
    assert disk["attempt"] == 1, disk
    calls = (scene.directory / "vddk/calls").read_text()
    assert "hang in read" in calls and calls.count("connect server=") >= 2, calls
    assert "nbdkit hung and is started again" in (scene.ferry.home / "log/agent-1.log").read_text()


def test_an_encrypted_disk_waits_for_an_agent_with_vddk_before_it_is_begun(scene, vddk):
    """The import is planned and its VM is being stopped when the only agent with VDDK goes."""
    images = [scene.images["odd-size"]]
    vcenter = scene.vcenter(encrypted("secret", images, power="on", shutdown_seconds=8))
    options = vddk(vcenter, vm=vcenter.vm("secret")["moref"])
    scene.base(vcenter)
    scene.ferry.up(1, None, *options)
    with_vddk(scene)
    scene.vmware_import("secret")

    def message():
        return scene.ferry.conditions("secret").get("Processing", {}).get("message", "")
    scene.ferry.wait_for(lambda: "Shutting down" in message(), 40, "the shutdown")
    scene.ferry.kill9_all()
    scene.ferry.up(1)
    scene.ferry.wait_for(lambda: "VMF-SRC-VDDK-AGENT" in message(), 60, "what the disk waits for")
    assert "--vddk-libdir" in message() and "encrypted" in message(), message()
    assert "Succeeded" not in scene.ferry.conditions("secret")
    scene.ferry.down()
    scene.ferry.up(1, None, *options)
    scene.ferry.wait_succeeded("secret")
    scene.ferry.check_disks("secret", images)
