"""Every object and every patch that a coordinator sends, to the letter: as it left the coordinator, before the API server
has dropped what it does not know."""
import http.client
import json
import ssl

import pytest

from cluster_world import CRDS, OURS, World, small_image, strict, vmware_vm
from ferry_cluster import secret, vm_import
from scene import VMWARE_MAPPINGS


@pytest.fixture
def world(tmp_path):
    if strict.missing():
        pytest.skip(strict.missing())
    made = World(tmp_path, (*CRDS, "cdi.yaml"))
    try:
        yield made
    finally:
        made.close()


def secret_of_another_namespace(world, vcenter):
    """The import's namespace may read it (SubjectAccessReview)."""
    world.namespace("vault")
    world.ferry.apply(secret("source", "vmware", vcenter.secret()), ns="vault")
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/vault"
    world.bed.must("POST", f"{rbac}/roles", {"metadata": {"name": "reader"}, "rules": [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["source"], "verbs": ["get"]}]})
    world.bed.must("POST", f"{rbac}/rolebindings", {
        "metadata": {"name": "reader"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "vmferry-import", "namespace": "default"}]})


def start(world, name, **options):
    tree = vm_import(name, "vmware", {"name": name}, "source", mappings=VMWARE_MAPPINGS, **options)
    tree["spec"]["providerCredentialsSecret"]["namespace"] = "vault"
    world.ferry.apply(tree)


def test_what_a_coordinator_writes_fits_the_published_types(world, tmp_path):
    images = [small_image(tmp_path / "one.raw", 5, 1)]
    big = [small_image(tmp_path / "big.raw", 60, 2)]
    vcenter = world.vcenter(vmware_vm("web", images, power="on"), vmware_vm("mail", images), vmware_vm("gone", big, power="on"),
                            vmware_vm("lost", big))
    cdi, kubevirt = world.cdi(), world.kubevirt()
    secret_of_another_namespace(world, vcenter)
    coordinator = world.ferry.coordinator()
    world.ferry.agent(limit="8M")
    start(world, "web", startVm=True)
    start(world, "gone", annotations={"vmimport.v2v.kubevirt.io/power-off-after": "1s"})
    start(world, "lost", labels={"vmimport.v2v.kubevirt.io/tracker": "x"})
    world.ferry.wait_for(lambda: world.ferry.moved("gone") and world.ferry.moved("lost"), 90, "two copies")
    world.ferry.delete("VirtualMachineImport", "gone")
    disk, = world.ferry.get("VirtualMachineImport", "lost")["status"]["disks"]
    world.ferry.delete("PersistentVolumeClaim", disk["claim"])  # and so the import fails
    failed = world.ferry.wait_for(lambda: world.ferry.conditions("lost").get("Succeeded"), 90, "the failure")
    assert failed["status"] == "False", failed
    world.ferry.wait_succeeded("web")
    world.ferry.wait_for(lambda: world.ferry.get("VirtualMachineImport", "gone") is None, 60, "the end of what was deleted")
    # Once more, without agents on the nodes.
    coordinator.stop()
    world.ferry.agents.pop("node-1").stop()
    world.ferry.coordinator("coordinator-b", "--mode", "movers")
    start(world, "mail")
    world.ferry.wait_succeeded("mail")
    assert cdi.faults == [] and kubevirt.faults == [] and kubevirt.started == {"default/web": 1}
    world.check_writes()
    kinds = strict.kinds_of(world.recorder)
    assert {("POST", kind) for kind in (
        "Pod/hold", "Pod/move", "PersistentVolumeClaim", "DataVolume", "VirtualMachine", "ConfigMap", "Secret", "Lease",
        "Event", "TokenReview", "SubjectAccessReview")} <= kinds, kinds
    assert {("PATCH", kind) for kind in (
        "PersistentVolumeClaim", "DataVolume", "VirtualMachine", "ConfigMap", "Lease", "virtualmachineimports", "Pod")} <= kinds, kinds
    assert {("DELETE", "Pod"), ("DELETE", "PersistentVolumeClaim"), ("DELETE", "ConfigMap")} <= kinds, kinds


def send(world, method, path, body):
    """As a coordinator would, with a mistake; through the recorder."""
    context = ssl.create_default_context(cafile=str(world.bed.authority.certificate))
    connection = http.client.HTTPSConnection("127.0.0.1", int(world.recorder.url.rpartition(":")[2]), context=context, timeout=30)
    token = world.bed.token(OURS, "vmferry-coordinator")
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    connection.request(method, path, json.dumps(body), {"Content-Type": kind, "Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status < 300, (method, path, answer.status)


def test_a_misspelt_field_of_any_kind_is_found(world):
    pods = "/api/v1/namespaces/default/pods"
    container = {"name": "holder", "image": "test"}
    good = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "good"}, "spec": {"containers": [container]}}
    send(world, "POST", pods, good)
    assert strict.faults_of(world.recorder) == []
    send(world, "POST", pods, {**good, "metadata": {"name": "bad"}, "spec": {
        "containers": [{**container, "terminationMesagePolicy": "File"}]}})
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    send(world, "POST", claims, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClass": "standard", "resources": {"requests": {"storage": "1Mi"}}}})
    send(world, "PATCH", f"{claims}/c", {"metadata": {"anotations": {"a": "b"}}})
    volumes = "/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes"
    send(world, "POST", volumes, {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": {"name": "d"},
                                  "spec": {"source": {"blank": {}}, "pvc": {"accessMode": ["ReadWriteOnce"]}}})
    imports = "/apis/v2v.kubevirt.io/v1beta1/namespaces/default/virtualmachineimports"
    world.ferry.apply(vm_import("web", "vmware", {"name": "web"}, "source"))
    send(world, "PATCH", f"{imports}/web/status", {"status": {"targetVmNam": "web"}})
    found = strict.faults_of(world.recorder)
    for field in ("terminationMesagePolicy", "spec.storageClass", "anotations", "spec.pvc.accessMode"):
        assert any("bad " in fault and field in fault for fault in found), (field, found)
    assert any("warns" in fault and "targetVmNam" in fault for fault in found), found
