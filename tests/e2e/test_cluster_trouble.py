"""Imports right through what happens to clusters: API servers that restart, history that is compacted, coordinators that
all believe to be the one."""
import time

import pytest

from cluster_transfers import check_transfers
from cluster_world import OURS, Recorder, World, small_image, vmware_vm

MIB = 1 << 20
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{OURS}/leases/vmferry-coordinator"


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    try:
        yield made
        made.check_writes()
    finally:
        made.close()


class Trouble:
    """Something that is done again and again, from before an import until its end. (By this very thread: the beds' programs
    end with the thread that started them.)"""

    def __init__(self, action, every):
        self._action, self._every, self._next, self.times = action, every, time.monotonic() + every, 0

    def look(self):
        if time.monotonic() >= self._next:
            self._action()
            self.times += 1
            self._next = time.monotonic() + self._every


def tend(ferry):
    """As the kubelet would: a coordinator that lost its lease ends, and is started again."""
    for each in ferry.coordinators.values():
        if not each.alive():
            assert each.process.child.returncode == 1, each.text()[-2000:]
            each.start()


def end_right(world, images, trouble, seconds=240):
    def ended():
        tend(world.ferry)
        trouble.look()
        return world.ferry.conditions("web").get("Succeeded")
    condition = world.ferry.wait_for(ended, seconds, "the end")
    assert condition["status"] == "True", condition
    found = world.ferry.check_end("web", images)
    jobs = check_transfers(world, world.ferry, found["metadata"]["uid"], attempts=2)
    assert len(jobs) == len(images)
    return found


def test_an_api_server_that_restarts_all_the_time(world, tmp_path):
    """At whatever the import is at, several times; watches end, requests are refused or answered to nobody."""
    images = [small_image(tmp_path / "one.raw", 60, 1), small_image(tmp_path / "two.raw", 20, 2)]
    vcenter = world.vcenter(vmware_vm("web", images, power="on"))
    world.ferry.coordinator("coordinator-a")
    world.ferry.coordinator("coordinator-b")
    world.ferry.agent(limit="3M")  # a restart takes seconds
    world.start_import(vcenter, "web")
    trouble = Trouble(world.bed.restart_apiserver, 5)
    end_right(world, images, trouble)
    assert trouble.times >= 3, trouble.times


def test_history_that_is_compacted_under_watches_all_the_time(world, tmp_path):
    """A watch that goes on after its connection ended finds that its place is gone, and lists again."""
    images = [small_image(tmp_path / "one.raw", 50, 1)]
    vcenter = world.vcenter(vmware_vm("web", images, power="on"))
    coordinator = world.ferry.coordinator("coordinator-a")
    world.ferry.agent(limit="4M")
    world.start_import(vcenter, "web")
    number = [0]

    def compact():
        number[0] += 1
        # Something new behind each watch's place, which then goes; and the API server forgets its own memory of it.
        world.bed.must("PATCH", f"/api/v1/namespaces/{OURS}/configmaps/vm-import-controller-config",
                       {"metadata": {"annotations": {"test": str(number[0])}}}, content_type="application/merge-patch+json")
        world.bed.compact()
        if number[0] % 2 == 0:
            world.bed.restart_apiserver()
    trouble = Trouble(compact, 4)
    found = end_right(world, images, trouble)
    assert trouble.times >= 4
    assert "listing again" in coordinator.text(), "no watch has met a place that was gone"
    assert found["status"]["disks"][0]["attempt"] <= 2


def test_two_coordinators_whose_lease_is_taken_from_them_all_the_time(world, tmp_path):
    """Somebody deletes the Lease: whoever looks next makes it anew, while the other one may still believe."""
    images = [small_image(tmp_path / "one.raw", 60, 1), small_image(tmp_path / "two.raw", 30, 2)]
    vcenter = world.vcenter(vmware_vm("web", images, power="on"))
    for name in ("coordinator-a", "coordinator-b"):
        world.ferry.coordinator(name)
    world.ferry.agent(limit="2M")
    world.start_import(vcenter, "web")
    trouble = Trouble(lambda: world.bed.request("DELETE", LEASE), 7)
    found = end_right(world, images, trouble)
    assert trouble.times >= 2
    assert all(disk["attempt"] <= 2 for disk in found["status"]["disks"]), found["status"]["disks"]


def test_a_leader_that_is_cut_off_from_the_api_server_stops_before_the_next_one_acts(world, tmp_path):
    """Its agents and the source still reach it, so nothing but its own clock stops it."""
    images = [small_image(tmp_path / "one.raw", 60, 1)]
    vcenter = world.vcenter(vmware_vm("web", images, power="on"))
    way = Recorder(world.bed)
    world.closing.append(way)
    direct, world.ferry.kubeconfig = world.ferry.kubeconfig, world.bed.write_kubeconfig(
        "through-a", token=world.bed.token(OURS, "vmferry-coordinator"), url=way.url)
    first = world.ferry.coordinator("coordinator-a")
    world.ferry.agent(limit="4M")
    world.ferry.kubeconfig = direct
    world.ferry.coordinator("coordinator-b")
    world.start_import(vcenter, "web")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > 8 * MIB, 60, "8 MiB")
    way.cut()
    assert first.process.child.wait(30) == 1, first.text()[-2000:]
    world.ferry.wait_for(lambda: world.ferry.leader() == "coordinator-b", 30, "the takeover")
    world.ferry.coordinators.pop("coordinator-a")  # it stays cut off
    way.cut(False)
    found = end_right(world, images, Trouble(lambda: None, 60))
    assert found["status"]["disks"][0]["attempt"] == 1, "the same attempt, under another coordinator"
