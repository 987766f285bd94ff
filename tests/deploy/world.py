"""A node with VMFerry on it, a vCenter in its reach, and volumes: what test_real_node.py works on."""
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import peers
from bed import mapping
from kube import bed as kube
from node.node_bed import NODE, NodeBed
from scene import vmware_vm

from conftest import DEPLOY, ROOT

MIB = 1 << 20
NS = "imports"
IMPORT = "virtualmachineimports.v2v.kubevirt.io"


def claim_volume(name, kind, storage_class, source, bytes_):
    """A PersistentVolume of the node."""
    spec = {"capacity": {"storage": str(bytes_)}, "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "volumeMode": kind, "storageClassName": storage_class, "persistentVolumeReclaimPolicy": "Retain",
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}]}]}}, **source}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def storage_class(name, provisioner="kubernetes.io/no-provisioner"):
    return {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer"}


class World:
    def __init__(self, folder, programs, images):
        self.folder, self.images = pathlib.Path(folder), images
        self.paths = {}    # PersistentVolume -> where its content is seen from here
        self.holders = {}  # import -> label of the holder pods that were seen
        self._peers = []
        image = self.folder / "vmferry.tar"
        subprocess.run([sys.executable, DEPLOY / "image/make_image.py", "--programs", programs, "--out", image],
                       check=True, stdout=subprocess.DEVNULL)
        self.audit = self.folder / "audit.log"
        policy = self.folder / "audit-policy.json"
        policy.write_text(json.dumps({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts:vmferry"]}, {"level": "None"}]}))
        self.bed = NodeBed(apiserver_flags=[f"--audit-log-path={self.audit}", f"--audit-policy-file={policy}",
                                            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"])
        try:
            self.bed.import_image(image)
            self._install()
        except BaseException:
            self.close()
            raise

    def close(self):
        for peer in reversed(self._peers):
            peer.stop()
        self.bed.stop()

    def _install(self):
        for name in ("kubevirt", "instancetype", "network-attachment-definition"):
            self.bed.apply(ROOT / f"tests/data/crds/{name}.yaml")
        # As KubeVirt's own agents mark nodes that may run VMs.
        self.bed.kubectl("label", "node", NODE, "kubevirt.io/schedulable=true")
        self.install()
        # Pods beside an import get by with the strictest level.
        self.bed.namespace(NS, labels={"pod-security.kubernetes.io/enforce": "restricted"})
        self.apply(storage_class("local"), storage_class("directories", "rancher.io/local-path"))

    def install(self, *components):
        """The manifests, as a user's own kustomization would take them."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder, prefix="kustomization-"))
        tree = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["plain"],
                "components": list(components)}
        (folder / "kustomization.yaml").write_text(json.dumps(tree))
        (folder / "plain").symlink_to(DEPLOY / "overlays/plain")
        for name in components:
            (folder / name).symlink_to(DEPLOY / "components" / name)
        self.bed.kubectl("apply", "-k", folder)

    # ---- what is there

    def apply(self, *objects):
        self.bed.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def file_system(self, name, bytes_=256 * MIB):
        path = self.bed.mounted_file_system(name, bytes_)
        self.apply(claim_volume(name, "Filesystem", "local", {"local": {"path": str(path)}}, bytes_ - 16 * MIB))
        self.paths[name] = self.bed.from_node(path) / "disk.img"

    def device(self, name, bytes_=160 * MIB):
        path = self.bed.loop_device(name, bytes_)
        self.apply(claim_volume(name, "Block", "local", {"local": {"path": path}}, bytes_))
        self.paths[name] = self.bed.folder / "disks" / name  # the file behind it

    def directory(self, name, bytes_=256 * MIB):
        """As local-path-provisioner makes them: a directory of the node, for everybody."""
        path = self.bed.folder / "directories" / name
        path.mkdir(parents=True)
        path.chmod(0o777)
        self.apply(claim_volume(name, "Filesystem", "directories", {"hostPath": {"path": str(path)}}, bytes_))
        self.paths[name] = path / "disk.img"

    def start_vcenter(self, *vms):
        pki = peers.make_pki(self.folder / "pki", "vcenter")
        peer = peers.Vcenter(self.folder / "vcenter", pki, [vmware_vm(name, disks) for name, disks in vms],
                             listen=f"{self.bed.network.outside}:0", datacenter="DC0", datastore="LocalDS_0")
        self._peers.append(peer)
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vcenter", "namespace": NS},
                    "stringData": {"vmware": peer.secret()}})
        return peer

    def start_import(self, name, storage, mode=None, access="ReadWriteOnce"):
        maps = mapping([({"name": "VM Network"}, "pod")], [({"name": "LocalDS_0"}, storage)])
        maps["storageMappings"][0]["accessMode"] = access
        if mode:
            maps["storageMappings"][0]["volumeMode"] = mode
        self.apply({"apiVersion": "v2v.kubevirt.io/v1beta1", "kind": "VirtualMachineImport",
                    "metadata": {"name": name, "namespace": NS},
                    "spec": {"providerCredentialsSecret": {"name": "vcenter"}, "targetVmName": name,
                             "source": {"vmware": {"vm": {"name": name}, "mappings": maps}}}})

    # ---- what happens

    def wait(self, condition, what, seconds=90):
        until = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > until:
                raise AssertionError(f"{what} did not come within {seconds} s\n{self.story()}")
            time.sleep(0.2)
        return found

    def import_(self, name):
        return self.bed.must("GET", f"/apis/v2v.kubevirt.io/v1beta1/namespaces/{NS}/virtualmachineimports/{name}")

    def pods(self, ns, selector=""):
        return self.bed.must("GET", f"/api/v1/namespaces/{ns}/pods?labelSelector={selector}")["items"]

    def wait_for_agents(self):
        """Two coordinators of which one leads, and an agent that has found it."""
        def ready(kind, name, field, count):
            status = self.bed.must("GET", f"/apis/apps/v1/namespaces/vmferry/{kind}/{name}")["status"]
            return status.get(field, 0) == count
        self.wait(lambda: ready("deployments", "vmferry-coordinator", "readyReplicas", 2), "two coordinators", 120)
        self.wait(lambda: ready("daemonsets", "vmferry-agent", "numberReady", 1), "a connected agent", 120)

    def wait_for_import(self, name, seconds=150):
        """Its end; whatever holds its claims meanwhile is kept in mind."""
        def ended():
            for pod in self.pods(NS, "vmferry.io/holder"):
                claims = {volume["persistentVolumeClaim"]["claimName"] for volume in pod["spec"]["volumes"]
                          if "persistentVolumeClaim" in volume}
                self.holders.setdefault(pod["metadata"]["name"], (pod, claims))
            conditions = {each["type"]: each for each in self.import_(name).get("status", {}).get("conditions", [])}
            return conditions.get("Succeeded")
        condition = self.wait(ended, f"the end of import {name}", seconds)
        assert condition["status"] == "True", f"{condition}\n{self.story()}"
        return self.import_(name)

    def holders_of(self, claim):
        return [pod for pod, claims in self.holders.values() if claim in claims]

    def volume_of(self, claim):
        found = self.bed.must("GET", f"/api/v1/namespaces/{NS}/persistentvolumeclaims/{claim}")
        return found["spec"]["volumeName"]

    def requests(self):
        """What our accounts asked the API server: (account, verb, group, resource, namespace, name, answer)."""
        found = []
        for line in self.audit.read_text().splitlines():
            event = json.loads(line)
            what = event.get("objectRef", {})
            resource = "/".join(filter(None, (what.get("resource", ""), what.get("subresource", ""))))
            found.append((event["user"]["username"], event["verb"], what.get("apiGroup", ""), resource,
                          what.get("namespace", ""), what.get("name", ""), event.get("responseStatus", {}).get("code")))
        return found

    def story(self):
        parts = [self.bed.kubectl(*words, check=False)[-6000:] for words in (
            ("get", "pods,pvc,pv,daemonsets,deployments", "-A", "-o", "wide"), ("get", IMPORT, "-A", "-o", "yaml"),
            ("get", "events", "-A"),
            ("logs", "-n", "vmferry", "-l", "app.kubernetes.io/component=coordinator", "--prefix", "--tail=60"),
            ("logs", "-n", "vmferry", "-l", "app.kubernetes.io/component=agent", "--prefix", "--tail=60"),
            ("logs", "-n", NS, "-l", "vmferry.io/holder=move", "--prefix", "--tail=40"))]
        return "\n".join(parts) + "\n== kubelet\n" + self.bed.log("kubelet")[-3000:]


def programs_missing(folder):
    for name in ("vmferry", "vmferry-coordinator", "vmferry-agent"):
        if not (pathlib.Path(folder) / name).exists():
            return f"{folder}/{name} is not built"
    return ""


__all__ = ["World", "programs_missing", "kube", "MIB", "NS", "NODE"]
