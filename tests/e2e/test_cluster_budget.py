"""What imports that wait cost the API server: the coordinator's own count, of all its clients but the Lease's."""
import re
import time

import pytest

from cluster_world import World, small_image, vm_import, vmware_vm
from ferry_cluster import PATHS
from scene import VMWARE_MAPPINGS
from test_cluster import ask

IMPORTS = 50
MOST_PER_SECOND = 3  # of the 50 that the client allows itself


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    try:
        yield made
    finally:
        made.close()


def requests(coordinator):
    return sum(float(count) for count in re.findall(r"^vmferry_api_requests_total\{[^}]*\} (\S+)$",
                                                    ask(coordinator, "/metrics")[1], re.M))


def rate(coordinator, seconds):
    before, began = requests(coordinator), time.monotonic()
    time.sleep(seconds)
    return (requests(coordinator) - before) / (time.monotonic() - began)


def test_queued_disks_cost_next_to_nothing(world, tmp_path):
    vcenter = world.vcenter(vmware_vm("web", [small_image(tmp_path / "one.raw", 2, 1)]))
    coordinator = world.ferry.coordinator()  # and no agent: whatever is ready waits
    world.start_import(vcenter, "web", targetVmName="web-0")
    for number in range(1, IMPORTS):
        world.ferry.apply(vm_import(f"web-{number}", "vmware", {"name": "web"}, "source", mappings=VMWARE_MAPPINGS,
                                    targetVmName=f"web-{number}"), ns="default")

    # Nobody has told whether agents there have VDDK, so how the disk is read is not even chosen.
    def waiting():
        items = world.bed.must("GET", PATHS["VirtualMachineImport"].format("default"))["items"]
        return sum("agent on a node that reaches the target" in condition["message"]
                   for one in items for condition in one.get("status", {}).get("conditions", []))

    world.ferry.wait_for(lambda: waiting() == IMPORTS, 240, "all disks to wait for an agent")
    rates = []
    while len(rates) < 8 and (not rates or rates[-1] > MOST_PER_SECOND):  # the last looks become seldom
        rates.append(rate(coordinator, 15))
    print(f"{IMPORTS} imports with a disk that waits: {', '.join(f'{one:.2f}' for one in rates)} requests/s")
    assert rates[-1] <= MOST_PER_SECOND
