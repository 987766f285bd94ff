"""One test's cluster: a control plane, a node and a Service that stand in, VMFerry's namespace, a vCenter."""
import importlib.util
import os
import random
import sys

import pytest
import yaml

import peers
from scene import VMWARE_MAPPINGS, vmware_vm

KUBE = peers.ROOT / "tests/support/kube"
sys.path.insert(0, str(KUBE))
from ferry_cluster import OURS, FerryCluster, program, secret, vm_import  # noqa: E402
from node_stand_in import Node, Service, isolate  # noqa: E402
from pod_runner import Movers  # noqa: E402
from recorder import Recorder  # noqa: E402
from virtualization import Cdi, KubeVirt  # noqa: E402
import strict  # noqa: E402


def kube_bed():
    """tests/support/kube/bed.py: of the same name as the embedded mode's."""
    spec = importlib.util.spec_from_file_location("kube_bed", KUBE / "bed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def small_image(path, mebibytes, seed):
    """Random data with holes, and an end that is no whole chunk."""
    numbers = random.Random(seed)
    with open(path, "wb") as file:
        for chunk in range(mebibytes):
            if chunk % 3 == 1:
                continue
            file.seek(chunk << 20)
            file.write(numbers.randbytes(1 << 20))
        file.truncate((mebibytes << 20) + 4096)
    return path


CRDS = ("kubevirt.yaml", "network-attachment-definition.yaml", "template.yaml")


def moved_to(ns, item):
    """An object of the manifests for an installation in another namespace."""
    if item["metadata"].get("namespace"):
        item["metadata"]["namespace"] = ns
    elif item["kind"] == "ClusterRoleBinding" and ns != OURS:
        item["metadata"]["name"] += f"-{ns}"
    for subject in item.get("subjects", []):
        subject["namespace"] = ns
    return item


class World:
    """What coordinators write is recorded, and decoded strictly at the end; `recorded` false: it is not."""

    def __init__(self, directory, crds=CRDS, recorded=True):
        module = kube_bed()
        reason = module.missing() or isolate()
        for name in ("vmferry-coordinator", "vmferry-agent"):
            if not os.access(program(name), os.X_OK):
                reason = reason or f"{program(name)} is not built"
        if reason:
            pytest.skip(reason)
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.pki = peers.make_pki(directory / "pki", "vcenter", "engine")
        self.closing = []
        try:
            # As OpenShift has it: what an owner reference takes is asked for.
            self.bed = module.KubeBed(["--enable-admission-plugins=OwnerReferencesPermissionEnforcement"])
            self.closing.append(self.bed)
            self.bed.apply(peers.ROOT / "deploy/daemonset/crds", *[peers.ROOT / "tests/data/crds" / name for name in crds])
            self.recorder = Recorder(self.bed) if recorded else None
            if self.recorder:
                self.closing.append(self.recorder)
            self.bed.namespace(OURS)
            account = self.account(OURS)
            self.bed.must("POST", f"/api/v1/namespaces/{OURS}/configmaps", {
                "metadata": {"name": "vm-import-controller-config"}, "data": {"importWithoutTemplate": "true"}})
            self.bed.wait_for(lambda: self.bed.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200,
                              "the service account")
            self.movers = Movers(self.bed, directory / "pods", program("vmferry-agent").parent)
            self.node = Node(self.bed, directory / "node-1", "node-1", ("standard", "standard-wait"), self.movers)
            self.closing.append(self.node)
            self.service = Service(self.bed, OURS, "vmferry.io/leader=true")
            self.closing.append(self.service)
            # Coordinators run with the rights of the manifests and no others.
            self.ferry = FerryCluster(directory / "ferry", self.bed, self.node, self.service, kubeconfig=account)
        except BaseException:
            self.close()
            raise

    def account(self, ns):
        """A coordinator's service account in a namespace, with the rights of the manifests; its kubeconfig."""
        base = peers.ROOT / "deploy/daemonset/base"
        for name in ("service-accounts.yaml", "rbac-coordinator.yaml"):
            for item in yaml.safe_load_all((base / name).read_text()):
                self.bed.apply_objects(moved_to(ns, item))
        return self.bed.write_kubeconfig(f"coordinator-{ns}", token=self.bed.token(ns, "vmferry-coordinator"),
                                         url=self.recorder.url if self.recorder else None)

    def cdi(self):
        """CDI at work; its kinds must be among the CRDs."""
        self.closing.append(Cdi(self.bed))
        return self.closing[-1]

    def kubevirt(self):
        self.closing.append(KubeVirt(self.bed))
        return self.closing[-1]

    def check_writes(self):
        """All that coordinators wrote so far fits the published types to the letter."""
        if self.recorder and not strict.missing():
            faults = strict.faults_of(self.recorder)
            assert not faults, "\n".join(faults)

    def vcenter(self, *vms):
        try:
            vcenter = peers.Vcenter(self.directory / "vcenter", self.pki, list(vms), datacenter="DC0",
                                    datastore="LocalDS_0")
        except peers.Missing as error:
            pytest.skip(str(error))
        self.closing.append(vcenter)
        return vcenter

    def engine(self, bed, **options):
        self.closing.append(peers.OvirtEngine(self.directory / "engine", self.pki, bed, **options))
        return self.closing[-1]

    def namespace(self, name):
        """For imports; pods there must be of the restricted profile."""
        return self.bed.namespace(name, labels={"pod-security.kubernetes.io/enforce": "restricted"})

    def start_import(self, vcenter, name, ns="default", **options):
        self.start_import_in(self.ferry, vcenter, name, ns, **options)

    @staticmethod
    def start_import_in(ferry, vcenter, name, ns, mappings=VMWARE_MAPPINGS, **options):
        if ferry.get("Secret", "source", ns) is None:
            ferry.apply(secret("source", "vmware", vcenter.secret()), ns=ns)
        ferry.apply(vm_import(name, "vmware", {"name": name}, "source", mappings=mappings, **options), ns=ns)

    def close(self):
        if hasattr(self, "ferry"):
            self.ferry.__exit__()
        for each in reversed(self.closing):
            each.stop()


__all__ = ["World", "Recorder", "small_image", "vmware_vm", "OURS", "CRDS", "Service", "FerryCluster", "strict"]
