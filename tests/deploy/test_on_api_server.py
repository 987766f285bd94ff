"""The manifests on a real API server: every field is known, admission takes our pods, the rights are what they should be."""
import copy

import pytest
import yaml

from conftest import DEPLOY, OVERLAYS, ROOT, kubectl_program, run_kubectl
from test_manifests import named, pod_templates

ACCOUNT = "system:serviceaccount:vmferry:vmferry-coordinator"
AGENT = "system:serviceaccount:vmferry:vmferry-agent"


@pytest.fixture(scope="module")
def cluster(bed, tmp_path_factory):
    """With OpenShift's kind of object, and our namespace: in a dry run nothing would be made in it otherwise."""
    kubectl_program()
    bed.apply(ROOT / "tests/data/crds/security-context-constraints.yaml")
    run_kubectl("apply", "-f", DEPLOY / "base/namespace.yaml", kubeconfig=bed.kubeconfig)
    bed.wait_for(lambda: bed.request("GET", "/api/v1/namespaces/vmferry/serviceaccounts/default")[0] == 200, "the account")
    return bed


def test_every_overlay_applies_in_a_dry_run(cluster):
    for overlay in OVERLAYS:
        done = run_kubectl("apply", "--dry-run=server", "--validate=strict", "-k", DEPLOY / "overlays" / overlay,
                           kubeconfig=cluster.kubeconfig)
        assert "Warning" not in done.stderr, done.stderr
        assert done.stdout.count("(server dry run)") == len(
            [item for item in yaml.safe_load_all(run_kubectl("kustomize", DEPLOY / "overlays" / overlay).stdout) if item])


def test_the_component_for_privileged_agents_applies(cluster, tmp_path):
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["overlay"],
        "components": ["component"]}))
    (tmp_path / "overlay").symlink_to(DEPLOY / "overlays/plain")
    (tmp_path / "component").symlink_to(DEPLOY / "components/block-by-agents")
    done = run_kubectl("kustomize", tmp_path)
    objects = [item for item in yaml.safe_load_all(done.stdout) if item]
    agent = pod_templates(objects)["vmferry-agent"]["spec"]["containers"][0]
    assert agent["securityContext"]["privileged"] is True
    assert "--mode=agents" in pod_templates(objects)["vmferry-coordinator"]["spec"]["containers"][0]["args"]
    run_kubectl("apply", "--dry-run=server", "-f", "-", kubeconfig=cluster.kubeconfig, input=done.stdout)


def as_pod(template, name, ns):
    spec = copy.deepcopy(template["spec"])
    spec["serviceAccountName"] = "default"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": template["metadata"]["labels"]},
            "spec": spec, "namespace": ns}


def admitted(cluster, ns, pod):
    """(status, text) of a dry run."""
    body = {key: value for key, value in pod.items() if key != "namespace"}
    status, answer = cluster.request("POST", f"/api/v1/namespaces/{ns}/pods?dryRun=All", body)
    return status, str(answer)


def test_pod_security_admits_our_pods_where_they_are_made(cluster, overlays):
    templates = pod_templates(overlays["plain"])
    assert cluster.must("GET", "/api/v1/namespaces/vmferry")["metadata"]["labels"][
        "pod-security.kubernetes.io/enforce"] == "privileged"
    for level in ("baseline", "restricted"):
        cluster.namespace(f"level-{level}", labels={"pod-security.kubernetes.io/enforce": level})
    for name, template in templates.items():
        status, text = admitted(cluster, "vmferry", as_pod(template, name, "vmferry"))
        assert status == 201, text
    # The coordinator needs no more than the strictest level; for agents the namespace's label is needed.
    status, text = admitted(cluster, "level-restricted", as_pod(templates["vmferry-coordinator"], "c", ""))
    assert status == 201, text
    status, text = admitted(cluster, "level-baseline", as_pod(templates["vmferry-agent"], "a", ""))
    assert status == 403 and "hostPath" in text, text


@pytest.fixture(scope="module")
def installed(cluster):
    run_kubectl("apply", "-k", DEPLOY / "overlays/plain", kubeconfig=cluster.kubeconfig)
    return cluster


def may(cluster, user, verb, resource, ns="", name="", group=""):
    resource, _, sub = resource.partition("/")
    attributes = {"verb": verb, "resource": resource, "subresource": sub, "namespace": ns, "name": name, "group": group}
    answer = cluster.must("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": ["system:serviceaccounts", "system:authenticated"],
                 "resourceAttributes": {key: value for key, value in attributes.items() if value}}})
    return answer["status"]["allowed"]


def test_the_coordinator_may_not_do_more_than_its_work(installed):
    refused = [("list", "secrets", "team", ""), ("watch", "secrets", "", ""), ("list", "secrets", "vmferry", ""),
               ("update", "secrets", "team", "x"), ("delete", "secrets", "vmferry", "vmferry-coordinator-keys"),
               ("patch", "secrets", "vmferry", "another"), ("create", "secrets", "team", ""),
               ("create", "serviceaccounts/token", "vmferry", "vmferry-agent"), ("create", "pods/exec", "team", "x"),
               ("delete", "namespaces", "", "team"), ("patch", "nodes", "", "node1"),
               ("delete", "persistentvolumes", "", "pv"), ("update", "configmaps", "team", "x"),
               ("impersonate", "users", "", "")]
    for verb, resource, ns, name in refused:
        assert not may(installed, ACCOUNT, verb, resource, ns, name), (verb, resource, ns, name)
    assert not may(installed, ACCOUNT, "delete", "virtualmachineimports", "team", "x", "v2v.kubevirt.io")
    assert not may(installed, ACCOUNT, "update", "leases", "vmferry", "another", "coordination.k8s.io")
    assert not may(installed, ACCOUNT, "create", "clusterrolebindings", group="rbac.authorization.k8s.io")
    assert may(installed, ACCOUNT, "get", "secrets", "team", "credentials"), "else this test proves nothing"


def test_an_agents_account_may_do_nothing(installed):
    for verb, resource, ns in (("get", "pods", "vmferry"), ("get", "secrets", "vmferry"), ("list", "nodes", ""),
                               ("get", "configmaps", "vmferry"), ("create", "events", "vmferry")):
        assert not may(installed, AGENT, verb, resource, ns), (verb, resource)


def test_an_agents_token_is_refused_by_the_api_server(installed):
    token = installed.token("vmferry", "vmferry-agent", ["vmferry-coordinator"])
    status, _ = installed.request("GET", "/api", token=token)
    assert status == 401


def test_editors_and_viewers_of_a_namespace_get_our_kinds(installed):
    installed.namespace("people")
    for role, user in (("edit", "eve"), ("view", "vic")):
        installed.must("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/people/rolebindings", {
            "metadata": {"name": role}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]})
    ours = ("people", "", "v2v.kubevirt.io")
    installed.wait_for(lambda: may(installed, "eve", "create", "virtualmachineimports", *ours), "the aggregation of roles")
    installed.wait_for(lambda: may(installed, "vic", "list", "virtualmachineimports", *ours), "the aggregation of roles")
    assert not may(installed, "vic", "create", "virtualmachineimports", *ours)


def test_the_custom_resources_are_served_with_their_columns(installed):
    done = run_kubectl("get", "vmimports", "-A", kubeconfig=installed.kubeconfig)
    assert "No resources found" in done.stderr
    assert named([installed.must("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
                                 "virtualmachineimports.v2v.kubevirt.io")], "CustomResourceDefinition",
                 "virtualmachineimports.v2v.kubevirt.io")["spec"]["versions"]
