"""What an editor of one namespace writes there gives him nothing in another one."""
import json

import pytest

from cluster_world import OURS, World, small_image, vmware_vm
from ferry_cluster import secret, vm_import
from scene import VMWARE_MAPPINGS

MAPS = "/api/v1/namespaces/default/configmaps"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    try:
        yield made
        made.check_writes()
    finally:
        made.close()


def editor(world):
    """A token that may make imports and ConfigMaps in default, and nothing else."""
    world.bed.must("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "editor"}})
    world.bed.must("POST", f"{RBAC}/roles", {"metadata": {"name": "editor"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "update", "delete"]},
        {"apiGroups": ["v2v.kubevirt.io"], "resources": ["virtualmachineimports"], "verbs": ["get", "create"]}]})
    world.bed.must("POST", f"{RBAC}/rolebindings", {
        "metadata": {"name": "editor"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "editor"},
        "subjects": [{"kind": "ServiceAccount", "name": "editor", "namespace": "default"}]})
    return world.bed.token("default", "editor")


def test_a_forged_plan_makes_no_vm_in_another_namespace(world, tmp_path):
    images = [small_image(tmp_path / "one.raw", 5, 1)]
    vcenter = world.vcenter(vmware_vm("web", images))
    world.ferry.apply(secret("source", "vmware", vcenter.secret()))
    token = editor(world)
    tree = vm_import("web", "vmware", {"name": "web"}, "source", mappings=VMWARE_MAPPINGS)
    made = world.bed.must("POST", "/apis/v2v.kubevirt.io/v1beta1/namespaces/default/virtualmachineimports", tree, token=token)
    uid = made["metadata"]["uid"]
    vm = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "web", "namespace": OURS},
          "spec": {"runStrategy": "Always", "template": {"spec": {"domain": {"devices": {}}}}}}
    status, _ = world.bed.request("POST", f"/apis/kubevirt.io/v1/namespaces/{OURS}/virtualmachines", vm, token=token)
    assert status == 403, "the editor himself must not"
    plan = {"vmName": "web", "sourceNativeId": "vm-1", "templateNote": "", "disks": [], "vm": vm, "dataVolumes": False}
    name = f"vmferry-plan-{uid}"
    world.bed.must("POST", MAPS, {"metadata": {"name": name}, "data": {"plan": json.dumps(plan)}}, token=token)

    world.ferry.coordinator()
    world.ferry.agent()

    def told():
        return "VMF-DST-NAME-TAKEN" in world.ferry.conditions("web").get("Valid", {}).get("message", "")
    world.ferry.wait_for(told, 60, "a condition that names the plan")
    assert f"default/{name}" in world.ferry.conditions("web")["Valid"]["message"]
    assert world.ferry.list("VirtualMachine", OURS) == [] and world.ferry.list("VirtualMachine") == []

    # The condition's remedy.
    world.bed.must("DELETE", f"{MAPS}/{name}", token=token)
    world.ferry.wait_succeeded("web")
    world.ferry.check_end("web", images)
    assert world.ferry.list("VirtualMachine", OURS) == []
