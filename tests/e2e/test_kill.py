"""kill -9 of any process, mid-copy: nothing is lost, nothing is copied twice, the bytes are right."""
from ovirt_world import all_closed
from scene import ovirt_vm, vmware_vm

SLOW = "6M"


def under_way(scene, name, least):
    """Waits until `least` bytes of one disk have moved; that transfer."""
    def look():
        return next((each for each in scene.ferry.transfers(name)
                     if each["status"]["movedBytes"] >= least and each["state"].lower() == "running"), None)
    return scene.ferry.wait_for(look, 40, f"{least} bytes of {name}")


def test_a_killed_agents_disk_is_taken_over_and_resumed(scene):
    images = [scene.images["dense"]]
    vcenter = scene.vcenter(vmware_vm("big", images))
    scene.base(vcenter)
    scene.ferry.up(2, SLOW)
    scene.vmware_import("big")
    transfer = under_way(scene, "big", 24 << 20)
    scene.ferry.kill9(transfer["agent"])
    scene.ferry.run("limit", "off")
    scene.ferry.wait_succeeded("big")
    disk, = scene.ferry.check_disks("big", images)
    assert disk["attempt"] > transfer["attempt"], disk
    assert disk["resumedBytes"] > 0, disk


def test_a_killed_coordinator_comes_back_and_the_copy_goes_on(scene):
    images = [scene.images["dense"]]
    vcenter = scene.vcenter(vmware_vm("big", images))
    scene.base(vcenter)
    scene.ferry.up(2, SLOW)
    scene.vmware_import("big")
    under_way(scene, "big", 16 << 20)
    old = scene.ferry.kill9("coordinator")
    scene.ferry.wait_for(lambda: scene.ferry.pid("coordinator") not in (None, old) and scene.ferry.agents(), 30,
                         "the coordinator")
    scene.ferry.wait_succeeded("big")
    scene.ferry.check_disks("big", images)


def test_a_killed_coordinator_during_an_ovirt_copy_closes_its_transfers(scene):
    images = [scene.images["dense"]]
    engine = scene.engine(ovirt_vm("mail", images))
    scene.base(engine)
    scene.ferry.up(1, SLOW)
    scene.ovirt_import("mail")
    under_way(scene, "mail", 16 << 20)
    scene.ferry.kill9("coordinator")
    scene.ferry.wait_succeeded("mail")
    scene.ferry.check_disks("mail", images)
    all_closed(scene, engine)


def test_everything_killed_and_started_again_resumes(scene):
    images = [scene.images["dense"]]
    vcenter = scene.vcenter(vmware_vm("big", images))
    scene.base(vcenter)
    scene.ferry.up(2, SLOW)
    scene.vmware_import("big")
    under_way(scene, "big", 24 << 20)
    scene.ferry.kill9_all()
    scene.ferry.up(2)
    scene.ferry.wait_succeeded("big")
    disk, = scene.ferry.check_disks("big", images)
    assert disk["resumedBytes"] > 0, disk
