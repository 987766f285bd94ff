"""What deploy/daemonset says, before any cluster sees it."""
import pytest

from conftest import OVERLAYS

POWERS = {"CHOWN"}  # see VolumeOnANodeTest.ThePowersThatTheDaemonSetGives..., and test_real_node.py


def kinds(objects, *names):
    return [item for item in objects if item["kind"] in names]


def named(objects, kind, name):
    return next(item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name)


def pod_templates(objects):
    return {item["metadata"]["name"]: item["spec"]["template"] for item in kinds(objects, "Deployment", "DaemonSet")}


def rules(objects):
    for role in kinds(objects, "Role", "ClusterRole"):
        for rule in role["rules"]:
            yield role, rule


def test_both_overlays_install_the_same_parts(overlays):
    def parts(name):
        return {(item["kind"], item["metadata"]["name"]) for item in overlays[name]}
    plain = parts("plain")
    assert ("DaemonSet", "vmferry-agent") in plain and ("Deployment", "vmferry-coordinator") in plain
    assert ("CustomResourceDefinition", "virtualmachineimports.v2v.kubevirt.io") in plain
    assert parts("openshift") - plain == {("SecurityContextConstraints", "vmferry-agent"),
                                          ("SecurityContextConstraints", "vmferry-holder")}
    assert not plain - parts("openshift")


def test_everything_is_in_the_namespace_of_the_manifests(overlays):
    cluster_wide = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding",
                    "SecurityContextConstraints"}
    for name in OVERLAYS:
        for item in overlays[name]:
            if item["kind"] not in cluster_wide:
                assert item["metadata"]["namespace"] == "vmferry", item["metadata"]


def test_no_role_has_a_wildcard(overlays):
    for role, rule in rules(overlays["plain"]):
        for field in ("apiGroups", "resources", "verbs"):
            assert "*" not in rule[field], (role["metadata"]["name"], rule)
        assert not {"impersonate", "escalate", "bind", "deletecollection"} & set(rule["verbs"]) or \
            role["metadata"]["name"] == "vmferry-edit", rule


def test_secrets_are_read_by_name_and_never_listed(overlays):
    seen = 0
    for role, rule in rules(overlays["plain"]):
        if "secrets" not in rule["resources"]:
            continue
        seen += 1
        if role["kind"] == "ClusterRole":
            assert rule["verbs"] == ["get"]
        elif rule["verbs"] != ["create"]:
            assert rule["resourceNames"] == ["vmferry-coordinator-keys"]
        assert not {"list", "watch", "delete"} & set(rule["verbs"])
    assert seen == 3


def test_no_role_reaches_nodes_by_the_api(overlays):
    for _, rule in rules(overlays["plain"]):
        for resource in rule["resources"]:
            assert resource not in {"pods/exec", "pods/attach", "pods/ephemeralcontainers", "nodes/proxy",
                                    "serviceaccounts/token", "roles", "rolebindings", "clusterroles",
                                    "clusterrolebindings", "customresourcedefinitions"}, rule


def test_agents_have_no_rights_and_a_token_for_the_coordinator_alone(overlays):
    for name in OVERLAYS:
        for binding in kinds(overlays[name], "RoleBinding", "ClusterRoleBinding"):
            assert [subject["name"] for subject in binding["subjects"]] == ["vmferry-coordinator"]
        account = named(overlays[name], "ServiceAccount", "vmferry-agent")
        pod = pod_templates(overlays[name])["vmferry-agent"]["spec"]
        assert account["automountServiceAccountToken"] is False
        assert pod["serviceAccountName"] == "vmferry-agent" and pod["automountServiceAccountToken"] is False
        tokens = [source["serviceAccountToken"] for volume in pod["volumes"] for source in
                  volume.get("projected", {}).get("sources", []) if "serviceAccountToken" in source]
        assert [token["audience"] for token in tokens] == ["vmferry-coordinator"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_containers_are_confined(overlays, overlay):
    for name, template in pod_templates(overlays[overlay]).items():
        pod = template["spec"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
            assert not security.get("privileged", False)
            assert security["capabilities"]["drop"] == ["ALL"]
            added = set(security["capabilities"].get("add", []))
            assert added == (POWERS if name == "vmferry-agent" else set())
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= set(container["resources"][kind]), (name, kind)
            assert container.get("livenessProbe") and container.get("readinessProbe")
        paths = {volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}
        assert paths == ({"/var/lib/kubelet", "/var/lib/vmferry"} if name == "vmferry-agent" else set())


def test_the_kubelets_directory_is_mounted_under_its_own_path_and_follows_new_mounts(overlays):
    container = pod_templates(overlays["plain"])["vmferry-agent"]["spec"]["containers"][0]
    mount = next(mount for mount in container["volumeMounts"] if mount["name"] == "kubelet")
    assert mount["mountPath"] == "/var/lib/kubelet" and mount["mountPropagation"] == "HostToContainer"


def test_an_update_of_agents_gives_their_disks_time_to_end(overlays):
    daemons = named(overlays["plain"], "DaemonSet", "vmferry-agent")
    pod = daemons["spec"]["template"]["spec"]
    drain = next(float(word.split("=")[1]) for word in pod["containers"][0]["args"] if word.startswith("--drain="))
    assert daemons["spec"]["updateStrategy"]["type"] == "RollingUpdate"
    assert drain >= 60 and pod["terminationGracePeriodSeconds"] > drain + 10


def test_selectors_find_the_pods_that_they_are_for(overlays):
    objects = overlays["plain"]
    pods = {name: template["metadata"]["labels"] for name, template in pod_templates(objects).items()}

    def found(selector, more=()):
        return {name for name, labels in pods.items() if selector.items() <= dict(labels, **dict(more)).items()}
    service = named(objects, "Service", "vmferry-coordinator")["spec"]["selector"]
    assert found(service) == set(), "a standby is not reached"
    assert found(service, {"vmferry.io/leader": "true"}) == {"vmferry-coordinator"}
    budget = named(objects, "PodDisruptionBudget", "vmferry-coordinator")["spec"]
    assert found(budget["selector"]["matchLabels"]) == {"vmferry-coordinator"}
    for policy in kinds(objects, "NetworkPolicy"):
        assert found(policy["spec"]["podSelector"]["matchLabels"]) == {policy["metadata"]["name"]}
    agents = named(objects, "NetworkPolicy", "vmferry-agent")["spec"]
    assert agents["ingress"] == [] and set(agents["policyTypes"]) == {"Ingress", "Egress"}
    coordinator = named(objects, "NetworkPolicy", "vmferry-coordinator")["spec"]
    # No ipBlock means the API server to Cilium: its nodes are no addresses but identities.
    assert coordinator["policyTypes"] == ["Ingress"] and "egress" not in coordinator
    ingress = coordinator["ingress"]
    assert found(ingress[0]["from"][0]["podSelector"]["matchLabels"]) == {"vmferry-agent"}


def test_metrics_and_probes_ask_the_port_that_the_coordinator_opens(overlays):
    template = pod_templates(overlays["plain"])["vmferry-coordinator"]
    container = template["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert f"--http=0.0.0.0:{ports['http']}" in container["args"]
    assert f"--bind=tcp://0.0.0.0:{ports['agents']}" in container["args"]
    notes = template["metadata"]["annotations"]
    assert notes["prometheus.io/scrape"] == "true" and notes["prometheus.io/port"] == str(ports["http"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == "http"


def test_two_coordinators_of_which_one_may_be_disrupted(overlays):
    objects = overlays["plain"]
    assert named(objects, "Deployment", "vmferry-coordinator")["spec"]["replicas"] == 2
    assert named(objects, "PodDisruptionBudget", "vmferry-coordinator")["spec"]["minAvailable"] == 1
