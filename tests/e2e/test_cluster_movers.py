"""--mode=movers: no agent on any node; each disk is copied by its holder pod, as a user without rights."""
import pytest

from cluster_world import World, small_image, vmware_vm

MIB = 1 << 20


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    try:
        yield made
        made.check_writes()
    finally:
        made.close()


def movers(world):
    return [pod for pod in world.ferry.list("Pod") if pod["metadata"]["labels"].get("vmferry.io/holder") == "move"]


def test_movers_fill_filesystem_claims_without_any_agent(world, tmp_path):
    images = [small_image(tmp_path / "one.raw", 12, 1), small_image(tmp_path / "two.raw", 5, 2)]
    vcenter = world.vcenter(vmware_vm("web", images, power="on"))
    world.ferry.coordinator("coordinator-a", "--mode", "movers")
    ns = world.namespace("team-a")  # of the restricted profile
    world.start_import(vcenter, "web", ns)
    world.ferry.wait_succeeded("web", ns)
    found = world.ferry.check_end("web", images, ns)
    assert [disk["node"][:6] for disk in found["status"]["disks"]] == ["mover-", "mover-"]
    assert len(world.movers.logs) == 2, "a mover a disk"
    for disk in found["status"]["disks"]:
        claim = world.ferry.get("PersistentVolumeClaim", disk["claim"], ns)
        state = (world.node.disk(claim["spec"]["volumeName"]) / "disk.img").stat()
        assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (107, 107, 0o660)


def test_disks_that_wait_for_their_consumer_share_a_mover(world, tmp_path):
    images = [small_image(tmp_path / "one.raw", 4, 1), small_image(tmp_path / "two.raw", 4, 2)]
    vcenter = world.vcenter(vmware_vm("web", images))
    world.ferry.coordinator("coordinator-a", "--mode", "movers")
    mappings = {"networkMappings": [{"source": {"name": "VM Network"}, "target": {"name": "pod"}, "type": "pod"}],
                "storageMappings": [{"source": {"name": "LocalDS_0"}, "target": {"name": "standard-wait"}}]}
    world.start_import(vcenter, "web", mappings=mappings)
    world.ferry.wait_succeeded("web")
    world.ferry.check_end("web", images)
    assert len(world.movers.logs) == 1


def test_a_mover_that_is_killed_or_evicted_goes_on_where_it_was(world, tmp_path):
    images = [small_image(tmp_path / "big.raw", 150, 3)]
    vcenter = world.vcenter(vmware_vm("web", images))
    vcenter.control("/fault", {"rate_bytes_per_second": 6 * MIB})
    world.ferry.coordinator("coordinator-a", "--mode", "movers")
    world.start_import(vcenter, "web")

    def disk():
        return (world.ferry.get("VirtualMachineImport", "web")["status"].get("disks") or [{}])[0]
    world.ferry.wait_for(lambda: world.ferry.moved("web") > 16 * MIB, 90, "16 MiB")
    world.movers.kill(movers(world)[0])  # the kubelet starts the container again: its journal is still there
    world.ferry.wait_for(lambda: disk().get("attempt", 0) == 2 and disk().get("resumedBytes", 0) > 0, 60, "the second attempt")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > 48 * MIB, 90, "48 MiB")
    first, = movers(world)
    # As by a node drain: another pod, and nothing of the first one's journal.
    world.ferry.delete("Pod", first["metadata"]["name"])
    world.ferry.wait_for(lambda: disk().get("attempt", 0) == 3 and disk().get("resumedBytes", 0) > 16 * MIB, 90,
                         "the third attempt")
    vcenter.control("/fault", {"rate_bytes_per_second": 0})
    world.ferry.wait_succeeded("web", timeout=150)
    world.ferry.check_end("web", images)
    assert len(world.movers.logs) == 2


def test_a_mover_copies_on_under_the_next_coordinator(world, tmp_path):
    images = [small_image(tmp_path / "big.raw", 60, 4)]
    vcenter = world.vcenter(vmware_vm("web", images))
    vcenter.control("/fault", {"rate_bytes_per_second": 3 * MIB})
    first = world.ferry.coordinator("coordinator-a", "--mode", "movers")
    world.ferry.coordinator("coordinator-b", "--mode", "movers")
    world.start_import(vcenter, "web")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > 8 * MIB, 60, "8 MiB")
    first.kill()
    moved = world.ferry.moved("web")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > moved + 8 * MIB, 60, "8 MiB more")
    vcenter.control("/fault", {"rate_bytes_per_second": 0})
    world.ferry.wait_succeeded("web")
    found = world.ferry.check_end("web", images)
    assert found["status"]["disks"][0]["attempt"] == 1, "the same attempt, under another coordinator"
