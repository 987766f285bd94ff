"""A coordinator that dies at any of its writes to the API server: the next one brings the import to its right end.

Each point has an installation of its own (coordinator, agent, Service, namespaces) on one control plane, several at once.
VMFERRY_KILL_MOMENTS=before,after also dies after each answered write; the default is before each.
"""
import concurrent.futures
import os
import threading
import time

import pytest

from cluster_world import World, small_image, vmware_vm
from ferry_cluster import FerryCluster
from node_stand_in import Service

SHARDS = 4
AT_ONCE = int(os.environ.get("VMFERRY_KILL_AT_ONCE", "5"))
MOST = 160  # writes of one import; the test says when that is too few
MOMENTS = os.environ.get("VMFERRY_KILL_MOMENTS", "before").split(",")


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.many = threading.Lock()
    try:
        yield made
    finally:
        made.close()


def installation(world, name, *options):
    """A FerryCluster beside others: sees imports of namespace `name` alone."""
    with world.many:
        ours = world.bed.namespace(f"ours-{name}")
        world.namespace(name)
        world.bed.must("POST", f"/api/v1/namespaces/{ours}/configmaps", {
            "metadata": {"name": "vm-import-controller-config"}, "data": {"importWithoutTemplate": "true"}})
    service = Service(world.bed, ours, "vmferry.io/leader=true")
    ferry = FerryCluster(world.directory / name, world.bed, world.node, service, ours)
    ferry.options = ("--watch-namespace", name, "--workers", "2", *options)
    return ferry


DIED = 77  # at the point


def tend(ferry):
    """As a Deployment would: a coordinator that died is started again, whole once it has died at its point. Whether one
    just did; on a busy machine one may also lose its lease, which is no harm."""
    reached = False
    for each in ferry.coordinators.values():
        if not each.alive():
            code = each.process.child.returncode
            assert code in (DIED, 1), f"exit code {code}"
            reached = code == DIED
            each.start(environment=dict(os.environ) if reached else None)
    return reached


def die_at(world, vcenter, images, number, moment):
    """Whether the point was reached. Raises when anything is not as it must be at the end."""
    name = f"k{number}{moment}"
    machine = f"vm-{number}-{moment}"
    ferry = installation(world, name)
    try:
        point = {"VMFERRY_EXIT_AT_WRITE": f"{number}:{moment}"}
        ferry.coordinator("coordinator", *ferry.options, **point)
        world.start_import_in(ferry, vcenter, machine, name)
        reached = False

        def ended():
            nonlocal reached
            reached = tend(ferry) or reached
            if not ferry.agents and ferry.published():
                ferry.agent()
            return ferry.conditions(machine, name).get("Succeeded")
        condition = ferry.wait_for(ended, 200, "the end")
        assert condition["status"] == "True", f"{condition}\n{ferry.story()}"
        # What is left to do after Succeeded was written has its own points.
        deadline = time.monotonic() + 5
        while not reached and time.monotonic() < deadline:
            time.sleep(0.1)
            reached = tend(ferry) or reached
        ferry.check_end(machine, images, name)
        return reached
    except AssertionError as failure:
        raise AssertionError(f"died at write {number} ({moment}): {failure}") from None
    finally:
        ferry.__exit__()
        ferry.service.stop()


def run_shard(world, tmp_path, shard):
    images = [small_image(tmp_path / "one.raw", 3, 1), small_image(tmp_path / "two.raw", 2, 2)]
    points = [(number, moment) for number in range(1 + shard, MOST, SHARDS) for moment in MOMENTS]
    vcenter = world.vcenter(*[vmware_vm(f"vm-{number}-{moment}", images, power="on") for number, moment in points])
    reached, over = 0, False
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        running, ran = {}, []
        for number, moment in points:
            if over:
                break
            while len(running) >= AT_ONCE:
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for each in done:
                    over = not each.result() or over
                    reached += each.result()
                    del running[each]
            running[pool.submit(die_at, world, vcenter, images, number, moment)] = number
            ran.append((number, moment))
        for each in concurrent.futures.as_completed(running):
            over = not each.result() or over
            reached += each.result()
    assert over, f"an import makes more than {MOST} writes: not all of them were tried"
    assert reached >= 5, f"only {reached} points were reached"
    for number, moment in ran:
        assert vcenter.power(f"vm-{number}-{moment}") == "off", (number, moment)
    print(f"died at {reached} points")


def test_dying_at_any_write_of_an_import_first_quarter(world, tmp_path):
    run_shard(world, tmp_path, 0)


def test_dying_at_any_write_of_an_import_second_quarter(world, tmp_path):
    run_shard(world, tmp_path, 1)


def test_dying_at_any_write_of_an_import_third_quarter(world, tmp_path):
    run_shard(world, tmp_path, 2)


def test_dying_at_any_write_of_an_import_fourth_quarter(world, tmp_path):
    run_shard(world, tmp_path, 3)
