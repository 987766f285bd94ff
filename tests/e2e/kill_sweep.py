"""A coordinator that dies at one of its writes to the API server, and the next one: the machinery of test_cluster_kill.py.

A point is a write's number and a moment, before it was sent or after it was answered. Each has an installation of its own
(coordinator, agent, Service, namespaces, service account with the rights of the manifests) on one control plane; several
run at once. A default run takes a fixed sample of a scenario's points; VMFERRY_KILL_SWEEP=full takes all.
"""
import concurrent.futures
import dataclasses
import os
import threading
import time

from cluster_transfers import check_transfers
from cluster_world import FerryCluster, Service, World

AT_ONCE = int(os.environ.get("VMFERRY_KILL_AT_ONCE", "5"))
FULL = os.environ.get("VMFERRY_KILL_SWEEP") == "full"
MOST = 200  # writes of one run; the sweep says when that is too few
BATCH = 40  # points of one control plane
DIED = 77  # exit code at the point


@dataclasses.dataclass(frozen=True)
class Point:
    number: int
    moment: str

    @property
    def ns(self):
        return f"k{self.number}{self.moment}"

    @property
    def machine(self):
        return f"vm-{self.number}-{self.moment}"

    def __str__(self):
        return f"{self.moment} write {self.number}"


def points_of(scenario):
    """In the order of the writes. A sample differs from scenario to scenario, and is the same every time."""
    every = [Point(number, moment) for number in range(1, MOST + 1) for moment in ("before", "after")]
    stride = 1 if FULL else scenario.stride
    return every[sum(map(ord, scenario.name)) % stride::stride]


# ---- one point

def installation(world, scenario, name):
    """A FerryCluster beside others: sees imports of namespace `name` alone."""
    with world.many:
        ours = world.bed.namespace(f"ours-{name}")
        world.namespace(name)
        world.bed.must("POST", f"/api/v1/namespaces/{ours}/configmaps", {
            "metadata": {"name": "vm-import-controller-config"}, "data": {"importWithoutTemplate": "true"}})
        account = world.account(ours)
    service = Service(world.bed, ours, "vmferry.io/leader=true")
    ferry = FerryCluster(world.directory / name, world.bed, world.node, service, ours, kubeconfig=account)
    ferry.options = ("--watch-namespace", name, "--workers", "2", *scenario.options)
    return ferry


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


def die_at(world, scenario, point):
    """Whether the point was reached. Raises when anything is not as it must be at the end."""
    ferry = installation(world, scenario, point.ns)
    try:
        death = {"VMFERRY_EXIT_AT_WRITE": f"{point.number}:{point.moment}"}
        scenario.begin(ferry, point, death)
        uid = ferry.get("VirtualMachineImport", point.machine, point.ns)["metadata"]["uid"]
        scenario.go_on(ferry, point)
        reached = False

        def ended():
            nonlocal reached
            reached = tend(ferry) or reached
            if scenario.agents and not ferry.agents and ferry.published():
                ferry.agent()
            return scenario.has_ended(ferry, point)
        ferry.wait_for(ended, 200, "the end")
        # What is left to do after the end was written has its own points.
        deadline = time.monotonic() + 5
        while not reached and time.monotonic() < deadline:
            time.sleep(0.1)
            reached = tend(ferry) or reached
        scenario.check(ferry, point)
        # Nobody kills an agent here, so a disk is begun once, whatever becomes of coordinators.
        assert len(check_transfers(world, ferry, uid)) <= scenario.disks
        check_rights(ferry)
        return reached
    except (AssertionError, KeyError, TypeError) as failure:
        raise AssertionError(f"died {point} ({scenario.name}): {type(failure).__name__} {failure}\n{ferry.story()}") from failure
    finally:
        ferry.__exit__()
        ferry.service.stop()


def check_rights(ferry):
    """Nothing that a coordinator asked for was refused to its service account."""
    for each in ferry.coordinators.values():
        refused = [line for line in each.text().splitlines() if "is forbidden" in line or '"PermissionDenied' in line]
        assert not refused, refused[:3]


# ---- a sweep

def run_batch(world, scenario, points):
    """(how many were reached, whether the last ones were not: there are no more writes)."""
    scenario.set_up(world, points)
    reached, over, running = 0, False, set()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        def take(done):
            nonlocal reached, over
            for each in done:
                over = not each.result() or over
                reached += each.result()
        for point in points:
            if over:
                break
            while len(running) >= AT_ONCE:
                done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                take(done)
            running.add(pool.submit(die_at, world, scenario, point))
        take(concurrent.futures.as_completed(running))
    assert world.node.faults == [], world.node.faults
    scenario.check_sources()
    return reached, over


def sweep(tmp_path, scenario):
    points, reached = points_of(scenario), 0
    begin = time.monotonic()
    for start in range(0, len(points), BATCH):
        world = World(tmp_path / f"batch-{start}", scenario.crds, recorded=False)
        world.many = threading.Lock()
        try:
            more, over = run_batch(world, scenario, points[start:start + BATCH])
        finally:
            world.close()
        reached += more
        if over:
            break
    else:
        raise AssertionError(f"there are more than {MOST} writes: not all of them were tried")
    print(f"{scenario.name}: died at {reached} points in {time.monotonic() - begin:.0f} s")
    assert reached >= (scenario.least if FULL else 3), f"only {reached} points were reached"
