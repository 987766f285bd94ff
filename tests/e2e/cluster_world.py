"""One test's cluster: a control plane, a node and a Service that stand in, VMFerry's namespace, a vCenter."""
import importlib.util
import os
import random
import sys

import pytest

import peers
from scene import VMWARE_MAPPINGS, vmware_vm

KUBE = peers.ROOT / "tests/support/kube"
sys.path.insert(0, str(KUBE))
from ferry_cluster import OURS, FerryCluster, program, secret, vm_import  # noqa: E402
from node_stand_in import Node, Service, isolate  # noqa: E402


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


class World:
    def __init__(self, directory, crds=("kubevirt.yaml", "network-attachment-definition.yaml", "template.yaml")):
        module = kube_bed()
        reason = module.missing() or isolate()
        for name in ("vmferry-coordinator", "vmferry-agent"):
            if not os.access(program(name), os.X_OK):
                reason = reason or f"{program(name)} is not built"
        if reason:
            pytest.skip(reason)
        self.directory = directory
        self.pki = peers.make_pki(directory / "pki", "vcenter")
        self.closing = []
        try:
            # As OpenShift has it: what an owner reference takes is asked for.
            self.bed = module.KubeBed(["--enable-admission-plugins=OwnerReferencesPermissionEnforcement"])
            self.closing.append(self.bed)
            self.bed.apply(peers.ROOT / "deploy/daemonset/crds", *[peers.ROOT / "tests/data/crds" / name for name in crds])
            self.bed.namespace(OURS)
            base = peers.ROOT / "deploy/daemonset/base"
            self.bed.apply(base / "service-accounts.yaml", base / "rbac-coordinator.yaml")
            account = self.bed.write_kubeconfig("vmferry-coordinator", token=self.bed.token(OURS, "vmferry-coordinator"))
            self.bed.must("POST", f"/api/v1/namespaces/{OURS}/configmaps", {
                "metadata": {"name": "vm-import-controller-config"}, "data": {"importWithoutTemplate": "true"}})
            self.bed.wait_for(lambda: self.bed.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200,
                              "the service account")
            self.node = Node(self.bed, directory / "node-1", "node-1", classes=("standard", "standard-wait"))
            self.closing.append(self.node)
            self.service = Service(self.bed, OURS, "vmferry.io/leader=true")
            self.closing.append(self.service)
            # Coordinators run with the rights of the manifests and no others.
            self.ferry = FerryCluster(directory / "ferry", self.bed, self.node, self.service, kubeconfig=account)
        except BaseException:
            self.close()
            raise

    def vcenter(self, *vms):
        try:
            vcenter = peers.Vcenter(self.directory / "vcenter", self.pki, list(vms), datacenter="DC0",
                                    datastore="LocalDS_0")
        except peers.Missing as error:
            pytest.skip(str(error))
        self.closing.append(vcenter)
        return vcenter

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


__all__ = ["World", "small_image", "vmware_vm", "OURS"]
