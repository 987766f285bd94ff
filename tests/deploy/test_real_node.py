"""Imports on a real node: kubelet, containerd, our image, our manifests; volumes of the node, a vCenter beside it."""
import json
import os
import pathlib
import stat

import peers
import pytest

from conftest import ROOT
from kube import bed as kube
from node import node_bed
from world import MIB, NODE, NS, World, programs_missing


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    programs = pathlib.Path(os.environ.get("VMFERRY_BIN", ROOT / "build/dev/vmferry")).parent
    folder = ROOT / "build/images-node"
    folder.mkdir(parents=True, exist_ok=True)

    def make():
        peers.vcsim_program()
        return World(tmp_path_factory.mktemp("node"), programs,
                     peers.make_images(folder, 0.25, only=("bootable", "sparse-data", "odd-size")))
    made = brought_up(node_bed.missing() or programs_missing(programs), make)
    images = made.images
    try:
        made.wait_for_agents()
        made.vcenter = made.start_vcenter(
            ("web", [images["bootable"], images["sparse-data"]]), ("database", [images["sparse-data"]]),
            ("edge", [images["odd-size"]]), ("slow", [images["bootable"]]), ("device", [images["sparse-data"]]),
            ("confined", [images["odd-size"]]))
        yield made
    finally:
        made.close()


def brought_up(reason, make):
    """What make() makes; a skip where a reason is known before. What fails where it should work is a failure."""
    if reason:
        pytest.skip(reason)
    try:
        return make()
    except peers.Missing as missing:
        pytest.skip(str(missing))


def test_a_node_that_fails_where_it_could_run_is_no_skip():
    def fails():
        raise kube.NotUp("the kubelet has ended")
    with pytest.raises(kube.NotUp):
        brought_up("", fails)
    with pytest.raises(pytest.skip.Exception, match="needs runc"):
        brought_up("needs runc", fails)


def disks_of(world, name, sources):
    """status.disks of a finished import, each compared with its source; with its volume and the pods that held it."""
    disks = world.import_(name)["status"]["disks"]
    assert len(disks) == len(sources), disks
    for disk, source in zip(disks, sources):
        assert disk["verified"] is True, disk
        volume = world.volume_of(disk["claim"])
        peers.compare_image(world.paths[volume], source)
        holders = world.holders_of(disk["claim"])
        assert holders, f"no holder was seen for {disk['claim']}"
        yield disk, volume, {pod["metadata"]["labels"]["vmferry.io/holder"] for pod in holders}


def check_vm(world, name, disks):
    vm = world.bed.must("GET", f"/apis/kubevirt.io/v1/namespaces/{NS}/virtualmachines/{name}")
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in vm["spec"]["template"]["spec"]["volumes"]
              if "persistentVolumeClaim" in volume]
    assert claims == [disk["claim"] for disk in disks]
    world.wait(lambda: not [pod for pod in world.pods(NS, "vmferry.io/holder") if set(claims) & {
        volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["spec"]["volumes"]}],
        "the end of the holders", 60)


def owner(path):
    state = os.stat(path)
    return state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode)


def test_one_coordinator_leads_and_the_agent_finds_it_without_a_manual_step(world):
    leaders = world.pods("vmferry", "vmferry.io/leader=true")
    assert len(leaders) == 1
    secret = world.bed.must("GET", "/api/v1/namespaces/vmferry/secrets/vmferry-coordinator-keys")
    assert {"secret-key", "public-key"} <= set(secret["data"])
    published = world.bed.must("GET", "/api/v1/namespaces/vmferry/configmaps/vmferry-coordinator")
    assert len(published["data"]["public-key"].strip()) == 40


def test_disks_reach_file_system_claims_through_the_kubelets_path(world):
    for name in ("fs-1", "fs-2"):
        world.file_system(name)
    world.start_import("web", "local", "Filesystem")
    world.wait_for_import("web")
    sources = [world.images["bootable"], world.images["sparse-data"]]
    disks = []
    for disk, volume, modes in disks_of(world, "web", sources):
        assert modes == {"hold"}, "an agent of the node copies, not the holder"
        assert disk["node"] == NODE
        assert owner(world.paths[volume]) == (107, 107, 0o660)
        disks.append(disk)
    check_vm(world, "web", disks)


def test_a_disk_reaches_a_block_claim(world):
    world.device("block-1")
    world.start_import("database", "local", "Block")
    world.wait_for_import("database")
    (disk, volume, modes), = disks_of(world, "database", [world.images["sparse-data"]])
    # Only a privileged container opens a node's devices, and our agents are none: the holder has its own.
    assert volume == "block-1" and modes == {"move"}
    check_vm(world, "database", [disk])


def test_a_disk_reaches_a_host_path_claim_by_a_mover(world):
    world.directory("directory-1")
    world.start_import("edge", "directories")
    world.wait_for_import("edge")
    (disk, volume, modes), = disks_of(world, "edge", [world.images["odd-size"]])
    assert volume == "directory-1" and "move" in modes
    assert disk["node"] != NODE
    assert owner(world.paths[volume])[:2] == (107, 107)
    check_vm(world, "edge", [disk])


def test_an_update_of_the_agents_lets_a_copy_end(world):
    world.file_system("fs-3")
    world.vcenter.control("/fault", {"rate_bytes_per_second": MIB // 2})
    world.start_import("slow", "local", "Filesystem")

    def moved():
        return sum(disk.get("movedBytes", 0) for disk in world.import_("slow").get("status", {}).get("disks", []))
    world.wait(moved, "the beginning of the copy")
    old, = world.pods("vmferry", "app.kubernetes.io/component=agent")
    world.bed.kubectl("-n", "vmferry", "rollout", "restart", "daemonset/vmferry-agent")

    def leaving():
        found = [pod for pod in world.pods("vmferry", "app.kubernetes.io/component=agent")
                 if pod["metadata"]["uid"] == old["metadata"]["uid"]]
        return found and found[0]["metadata"].get("deletionTimestamp")
    world.wait(leaving, "the order to the old agent to end")
    before = moved()
    world.wait(lambda: moved() > before, "more bytes from an agent that is told to end")
    assert leaving(), "it stays for its copy"
    world.vcenter.control("/fault", {"rate_bytes_per_second": 0})
    world.wait_for_import("slow")
    (disk, _, modes), = disks_of(world, "slow", [world.images["bootable"]])
    assert modes == {"hold"} and disk["attempt"] == 1, "no attempt was lost"
    world.wait_for_agents()
    new, = world.pods("vmferry", "app.kubernetes.io/component=agent")
    assert new["metadata"]["uid"] != old["metadata"]["uid"]


def test_privileged_agents_write_block_claims_themselves(world):
    world.device("block-2")
    world.install("block-by-agents")
    world.bed.kubectl("-n", "vmferry", "rollout", "status", "--timeout=300s", "deployment/vmferry-coordinator",
                      "daemonset/vmferry-agent")
    world.wait_for_agents()
    world.start_import("device", "local", "Block")
    world.wait_for_import("device")
    (disk, volume, modes), = disks_of(world, "device", [world.images["sparse-data"]])
    assert volume == "block-2" and modes == {"hold"} and disk["node"] == NODE
    check_vm(world, "device", [disk])


def test_movers_write_file_system_claims_where_nothing_of_a_node_may_be_mounted(world):
    world.install()
    world.bed.kubectl("-n", "vmferry", "patch", "deployment/vmferry-coordinator", "--type=json", "-p", json.dumps(
        [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--mode=movers"}]))
    world.bed.kubectl("-n", "vmferry", "rollout", "status", "--timeout=300s", "deployment/vmferry-coordinator")
    world.bed.kubectl("-n", "vmferry", "delete", "daemonset/vmferry-agent")
    world.file_system("fs-4")
    world.start_import("confined", "local", "Filesystem")
    world.wait_for_import("confined")
    (disk, volume, modes), = disks_of(world, "confined", [world.images["odd-size"]])
    assert volume == "fs-4" and modes == {"move"} and disk["node"].startswith("mover-")
    assert owner(world.paths[volume]) == (107, 107, 0o660)
    check_vm(world, "confined", [disk])


def test_nothing_of_the_imports_was_refused_by_the_api_server(world):
    """Least privilege is enough: the coordinator ran as its own account all the time, and agents asked nothing."""
    asked = world.requests()
    assert {request[0] for request in asked} == {"system:serviceaccount:vmferry:vmferry-coordinator"}
    assert not [request for request in asked if request[-1] in (401, 403)]
    made = {(verb, resource) for _, verb, _, resource, ns, _, answer in asked if ns == NS and answer < 300}
    assert {("create", "pods"), ("create", "persistentvolumeclaims"), ("create", "virtualmachines"),
            ("delete", "pods"), ("patch", "virtualmachineimports/status"), ("get", "secrets")} <= made
