"""The coordinator on a real API server: elections and takeovers. Agents are real, the node is a stand-in."""
import http.client
import signal
import time

import pytest

from cluster_world import OURS, World, small_image, vmware_vm
from ferry_cluster import secret, vm_import
from scene import FAST_ENGINE, OVIRT_MAPPINGS, ovirt_vm

MIB = 1 << 20


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    try:
        yield made
        made.check_writes()
    finally:
        made.close()


def ask(coordinator, path):
    connection = http.client.HTTPConnection("127.0.0.1", coordinator.http, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def metric(coordinator, name):
    """A metric's value; nothing while it is not there."""
    for line in ask(coordinator, "/metrics")[1].splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    return None


def test_an_import_runs_on_a_cluster(world, tmp_path):
    images = [small_image(tmp_path / "one.raw", 12, 1), small_image(tmp_path / "two.raw", 5, 2)]
    vcenter = world.vcenter(vmware_vm("web", images, power="on"))
    coordinator = world.ferry.coordinator()
    world.ferry.agent()
    ns = world.namespace("team-a")
    world.start_import(vcenter, "web", ns)
    world.ferry.wait_succeeded("web", ns)
    found = world.ferry.check_end("web", images, ns)
    assert found["metadata"]["annotations"]["vmimport.v2v.kubevirt.io/progress"] == "100"
    assert vcenter.power("web") == "off"
    assert ask(coordinator, "/healthz") == (200, "ok\n")
    assert ask(coordinator, "/readyz") == (200, "ok\n")
    assert metric(coordinator, "vmferry_leader") == 1
    assert metric(coordinator, 'vmferry_imports{phase="VirtualMachineReady"}') == 1
    assert metric(coordinator, 'vmferry_agents{state="connected"}') == 1
    assert metric(coordinator, 'vmferry_agent_hellos_total{answer="admitted"}') >= 1
    assert metric(coordinator, "vmferry_bytes_moved_total") > 0
    assert metric(coordinator, 'vmferry_api_requests_total{status="201"}') > 5
    assert metric(coordinator, 'vmferry_api_requests_total{status="403"}') is None, "its rights were enough"
    assert coordinator.stop() == 0, coordinator.text()
    assert world.ferry.leader() == "", "the lease was given up"


def test_disks_that_wait_for_their_consumer_share_a_holder(world, tmp_path):
    images = [small_image(tmp_path / "one.raw", 4, 1), small_image(tmp_path / "two.raw", 4, 2)]
    vcenter = world.vcenter(vmware_vm("web", images))
    world.ferry.coordinator()
    world.ferry.agent()
    mappings = {"networkMappings": [{"source": {"name": "VM Network"}, "target": {"name": "pod"}, "type": "pod"}],
                "storageMappings": [{"source": {"name": "LocalDS_0"}, "target": {"name": "standard-wait"}}]}
    world.start_import(vcenter, "web", mappings=mappings)
    world.ferry.wait_succeeded("web")
    world.ferry.check_end("web", images)
    assert len(world.node.pods_seen) == 1, "both disks on one node, hence one holder"


def test_a_standby_takes_over_from_a_killed_leader_and_the_copy_goes_on(world, tmp_path):
    images = [small_image(tmp_path / "big.raw", 60, 3)]
    vcenter = world.vcenter(vmware_vm("web", images))
    first = world.ferry.coordinator("coordinator-a")
    agent = world.ferry.agent(limit="3M")
    second = world.ferry.coordinator("coordinator-b")
    world.start_import(vcenter, "web")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > 12 * MIB, 60, "12 MiB")
    assert metric(second, "vmferry_leader") == 0
    first.kill()
    killed = time.monotonic()
    world.ferry.wait_for(lambda: metric(second, "vmferry_leader") == 1, 30, "the takeover")
    took = time.monotonic() - killed
    assert took < 15, f"the takeover took {took} s"
    world.ferry.wait_for(lambda: world.service.endpoint() == second.port, 30, "the Service's new end")
    world.ferry.wait_succeeded("web")
    found = world.ferry.check_end("web", images)
    assert found["status"]["disks"][0]["attempt"] == 1, "the same attempt, under another coordinator"
    assert agent.child.poll() is None


def test_a_takeover_with_the_times_that_users_get(world, tmp_path):
    images = [small_image(tmp_path / "big.raw", 100, 7)]
    vcenter = world.vcenter(vmware_vm("web", images))
    world.ferry.times = ()
    first = world.ferry.coordinator("coordinator-a")
    agent = world.ferry.agent(limit="3M")
    second = world.ferry.coordinator("coordinator-b")
    world.start_import(vcenter, "web")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > 6 * MIB, 60, "6 MiB")
    first.kill()
    killed = time.monotonic()
    world.ferry.wait_for(lambda: metric(second, "vmferry_leader") == 1, 60, "the takeover")
    world.ferry.wait_for(lambda: world.service.endpoint() == second.port, 30, "the Service's new end")
    took = time.monotonic() - killed
    print(f"the takeover took {took:.1f} s")
    assert took < 40, "15 s of the lease, a look, and the caches"
    moved = world.ferry.moved("web")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > moved, 60, "progress under the new leader")
    world.ferry.wait_succeeded("web")
    found = world.ferry.check_end("web", images)
    assert found["status"]["disks"][0]["attempt"] == 1, "the agent's own lease outlives the takeover"
    assert agent.child.poll() is None


def test_the_published_key_is_mended(world):
    world.ferry.coordinator()
    key = world.ferry.public_key()
    path = f"/api/v1/namespaces/{OURS}/configmaps/vmferry-coordinator"
    world.bed.must("PATCH", path, {"data": {"public-key": "somebody's"}}, content_type="application/merge-patch+json")
    world.ferry.wait_for(lambda: world.ferry.published() == key, 60, "the key after an edit")
    uid = world.bed.must("GET", path)["metadata"]["uid"]
    world.bed.must("DELETE", path)
    world.ferry.wait_for(lambda: world.ferry.published() == key, 60, "the key after a removal")
    assert world.bed.must("GET", path)["metadata"]["uid"] != uid


def test_a_frozen_leader_never_acts_again(world, tmp_path):
    images = [small_image(tmp_path / "big.raw", 40, 4)]
    vcenter = world.vcenter(vmware_vm("web", images))
    first = world.ferry.coordinator("coordinator-a")
    world.ferry.agent(limit="3M")
    second = world.ferry.coordinator("coordinator-b")
    world.start_import(vcenter, "web")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > 6 * MIB, 60, "6 MiB")
    first.signal(signal.SIGSTOP)
    world.ferry.wait_for(lambda: metric(second, "vmferry_leader") == 1, 30, "the takeover")
    world.ferry.wait_for(lambda: world.service.endpoint() == second.port, 30, "the Service's new end")
    before = world.bed.must("GET", f"/apis/coordination.k8s.io/v1/namespaces/{OURS}/leases/vmferry-coordinator")
    first.signal(signal.SIGCONT)
    assert first.process.child.wait(20) == 1, "it ends by itself, to be started again"
    assert "not the leader any more" in first.text() or "no longer the leader" in first.text()
    after = world.bed.must("GET", f"/apis/coordination.k8s.io/v1/namespaces/{OURS}/leases/vmferry-coordinator")
    assert before["spec"]["holderIdentity"] == after["spec"]["holderIdentity"]
    first.start()
    world.ferry.wait_succeeded("web")
    world.ferry.check_end("web", images)


def test_a_copy_resumes_on_another_node_after_a_takeover(world, tmp_path):
    """The new coordinator knows the journal only because the agent tells it again."""
    images = [small_image(tmp_path / "big.raw", 180, 5)]
    vcenter = world.vcenter(vmware_vm("web", images))
    first = world.ferry.coordinator("coordinator-a")
    agent = world.ferry.agent(limit="3M")
    world.start_import(vcenter, "web")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > 12 * MIB, 60, "12 MiB")
    first.kill()
    second = world.ferry.coordinator("coordinator-b")
    world.ferry.wait_for(lambda: metric(second, 'vmferry_transfers{state="Running"}') == 1, 40, "the agent's return")
    sizes = set()

    def retold():
        """First comes the epoch alone, then all chunks that are durable: 16 bytes of digest each."""
        sizes.update(path.stat().st_size for path in second.state.glob("jobs/*/journal"))
        return sizes and max(sizes) - min(sizes) > 12 * 16
    world.ferry.wait_for(retold, 60, "the journal")
    agent.child.kill()
    agent.child.wait()
    # With another state directory it is as good as another node's: nothing of the first one's journal is there.
    world.ferry.agent(state=tmp_path / "other")
    world.ferry.wait_succeeded("web", timeout=150)
    disk, = world.ferry.check_end("web", images)["status"]["disks"]
    assert disk["attempt"] >= 2 and disk.get("resumedBytes", 0) > 8 * MIB, disk


def test_a_disk_that_is_verified_at_a_takeover_need_not_be_copied_again(world, tmp_path):
    """Nothing new becomes durable any more, and yet the new coordinator learns what is, in case that its agent is lost."""
    images = [small_image(tmp_path / "big.raw", 40, 10)]
    engine = world.engine({"engine": FAST_ENGINE, "vms": [ovirt_vm("web", images, nics=[])]}, imageio="builtin")
    # The source's own checksum takes long, the reading of the target does not.
    engine.control("/imageio-fault", {"kind": "delay", "path_regex": "checksum", "seconds": 45, "times": 1})
    first = world.ferry.coordinator("coordinator-a")
    agent = world.ferry.agent()
    world.ferry.apply(secret("source", "ovirt", engine.secret()), vm_import("web", "ovirt", {
        "name": "web", "cluster": {"name": "Default"}}, "source", mappings=OVIRT_MAPPINGS))

    def disk():
        return ((world.ferry.get("VirtualMachineImport", "web").get("status") or {}).get("disks") or [{}])[0]
    world.ferry.wait_for(lambda: disk().get("phase") == "Verifying", 60, "the verification")
    moved = disk()["movedBytes"]
    first.kill()
    second = world.ferry.coordinator("coordinator-b")
    sizes = set()

    def retold():
        """First comes the epoch alone, then all chunks that are durable: 32 bytes of digest each."""
        sizes.update(path.stat().st_size for path in second.state.glob("jobs/*/journal"))
        return sizes and max(sizes) - min(sizes) >= (moved >> 20) * 32
    world.ferry.wait_for(retold, 40, "the journal")
    agent.child.kill()
    agent.child.wait()
    world.ferry.agent(state=tmp_path / "other")  # as good as another node's
    world.ferry.wait_succeeded("web", timeout=150)
    found, = world.ferry.check_end("web", images)["status"]["disks"]
    assert found["attempt"] >= 2 and found["resumedBytes"] == found["movedBytes"] == moved, found


def test_the_api_server_goes_away_and_the_history_is_compacted(world, tmp_path):
    images = [small_image(tmp_path / "big.raw", 200, 6)]
    vcenter = world.vcenter(vmware_vm("web", images))
    coordinator = world.ferry.coordinator()
    world.ferry.agent(limit="4M")
    world.start_import(vcenter, "web")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > 4 * MIB, 60, "4 MiB")
    world.bed.stop_apiserver()
    time.sleep(6)  # longer than the lease: whoever led may not go on as if it did
    world.bed.compact()
    world.bed.start_apiserver()
    if coordinator.process.child.poll() is None:
        try:
            coordinator.process.child.wait(10)
        except Exception:  # it renewed in time
            pass
    if not coordinator.alive():
        coordinator.start()  # as the kubelet would
    moved = world.ferry.moved("web")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > moved + 8 * MIB, 90, "8 MiB more")
    world.bed.compact()
    world.bed.restart_apiserver()
    if not coordinator.alive():
        coordinator.start()

    def keep_alive_and_ended():
        if not coordinator.alive():
            coordinator.start()
        return world.ferry.conditions("web").get("Succeeded")
    world.ferry.wait_for(keep_alive_and_ended, 120, "the end")
    world.ferry.wait_succeeded("web")
    world.ferry.check_end("web", images)


def test_a_deleted_import_leaves_nothing_foreground_or_background(world, tmp_path):
    images = [small_image(tmp_path / "big.raw", 150, 7)]
    vcenter = world.vcenter(vmware_vm("web", images, power="on"))
    world.ferry.coordinator()
    world.ferry.agent(limit="1M")  # minutes for the disk: however late the deletion comes, it is being copied
    for policy in ("Background", "Foreground"):
        world.start_import(vcenter, "web")
        world.ferry.wait_for(lambda: world.ferry.moved("web") > 0, 120, "its first bytes")
        assert vcenter.power("web") == "off"
        world.ferry.delete("VirtualMachineImport", "web", policy=policy)
        world.ferry.wait_for(lambda: world.ferry.get("VirtualMachineImport", "web") is None, 60, f"the {policy} end")

        def nothing():
            return not (world.ferry.list("PersistentVolumeClaim") or world.ferry.list("Pod")
                        or world.ferry.list("VirtualMachine")
                        or [c for c in world.ferry.list("ConfigMap", OURS) if c["metadata"]["name"].startswith("vmferry-jobs")])
        world.ferry.wait_for(nothing, 60, f"nothing left ({policy})")
        world.ferry.wait_for(lambda: vcenter.power("web") == "on", 30, "the source running again")
    assert world.node.faults == []


def test_a_foreground_deletion_whose_coordinator_died_still_restores_the_source(world, tmp_path):
    """The collector takes the plan with everything else that the import owns, before anybody undoes anything."""
    images = [small_image(tmp_path / "big.raw", 30, 8)]
    vcenter = world.vcenter(vmware_vm("web", images, power="on"))
    coordinator = world.ferry.coordinator()
    world.ferry.agent(limit="3M")
    world.start_import(vcenter, "web")
    world.ferry.wait_for(lambda: world.ferry.moved("web") > 4 * MIB, 60, "4 MiB")
    coordinator.kill()
    world.ferry.delete("VirtualMachineImport", "web", policy="Foreground")
    world.ferry.wait_for(lambda: not world.ferry.list("ConfigMap", selector="vmimport.v2v.kubevirt.io/import-uid"), 30,
                         "the collection of the plan")
    assert vcenter.power("web") == "off"
    coordinator.start()
    world.ferry.wait_for(lambda: world.ferry.get("VirtualMachineImport", "web") is None, 90, "the end")
    assert vcenter.power("web") == "on"
    world.ferry.wait_for(lambda: not (world.ferry.list("PersistentVolumeClaim") or world.ferry.list("Pod")), 60, "no claim")
    assert world.node.faults == []


def test_kinds_that_are_installed_later_are_found(world, tmp_path):
    images = [small_image(tmp_path / "one.raw", 3, 9)]
    vcenter = world.vcenter(vmware_vm("web", images))
    coordinator = world.ferry.coordinator()
    world.ferry.agent()
    mappings = {"networkMappings": [{"source": {"name": "VM Network"}, "target": {"name": "net", "namespace": "late"},
                                     "type": "multus"}],
                "storageMappings": [{"source": {"name": "LocalDS_0"}, "target": {"name": "late"}}]}
    world.start_import(vcenter, "web", mappings=mappings)
    blocked = world.ferry.wait_for(lambda: world.ferry.conditions("web").get("MappingRulesVerified"), 60, "the verdict")
    assert blocked["status"] == "False", blocked
    world.bed.must("POST", "/apis/storage.k8s.io/v1/storageclasses", {
        "metadata": {"name": "late"}, "provisioner": "stand-in.vmferry.io", "volumeBindingMode": "Immediate"})
    world.bed.namespace("late")
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/late"  # its owner lets imports of "default" use the network
    world.bed.must("POST", rbac + "/roles", {"metadata": {"name": "net"}, "rules": [
        {"apiGroups": ["k8s.cni.cncf.io"], "resources": ["network-attachment-definitions"], "resourceNames": ["net"],
         "verbs": ["get"]}]})
    world.bed.must("POST", rbac + "/rolebindings", {
        "metadata": {"name": "net"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "net"},
        "subjects": [{"kind": "ServiceAccount", "name": "vmferry-import", "namespace": "default"}]})
    world.bed.must("POST", "/apis/k8s.cni.cncf.io/v1/namespaces/late/network-attachment-definitions", {
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "net"},
        "spec": {"config": "{}"}})
    world.ferry.wait_succeeded("web")
    world.ferry.check_end("web", images)
    assert coordinator.alive()
