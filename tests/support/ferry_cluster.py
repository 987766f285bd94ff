"""VMFerry on a control plane under test: coordinators and agents of this build as processes, nodes and Service as stand-ins.

    with FerryCluster(directory, bed) as ferry:
        ferry.coordinator("a"); ferry.agent()
        ferry.apply(secret(...), vm_import(...))
        ferry.wait_succeeded("web")
"""
import http.client
import json
import os
import pathlib
import re
import signal
import time

from bed import secret as plain_secret
from bed import vm_import, vmferry_program
from peers import Process, compare_image, free_port

OURS = "vmferry"
IMPORTS = "/apis/v2v.kubevirt.io/v1beta1"
FAST = ("--lease-seconds", "6", "--renew-seconds", "4", "--retry-seconds", "0.5", "--lease-ms", "20000")
PATHS = {"Secret": "/api/v1/namespaces/{}/secrets", "ConfigMap": "/api/v1/namespaces/{}/configmaps",
         "VirtualMachineImport": IMPORTS + "/namespaces/{}/virtualmachineimports",
         "ResourceMapping": IMPORTS + "/namespaces/{}/resourcemappings",
         "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
         "Pod": "/api/v1/namespaces/{}/pods", "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
         "DataVolume": "/apis/cdi.kubevirt.io/v1beta1/namespaces/{}/datavolumes",
         "VirtualMachine": "/apis/kubevirt.io/v1/namespaces/{}/virtualmachines"}


def program(name):
    return vmferry_program().parent / name


class Coordinator:
    """One process, and the Pod object that it believes to be."""

    def __init__(self, ferry, name, options=(), environment=None):
        self.ferry, self.name, self.options = ferry, name, list(options)
        self.environment = dict(os.environ, **(environment or {}))
        self.port, self.http = free_port(), free_port()
        self.state = ferry.directory / f"state-{name}"
        self.log = ferry.directory / f"{name}.log"
        ferry.bed.must("POST", PATHS["Pod"].format(ferry.ns), {
            "metadata": {"name": name, "labels": {"app": "coordinator"}, "annotations": {"test/port": str(self.port)}},
            "spec": {"nodeName": "control", "containers": [{"name": "coordinator", "image": "test"}]}})
        self.process = None
        self.start()

    def start(self, environment=None):
        """Again: as it was, or in another environment from now on."""
        self.environment = environment or self.environment
        words = [program("vmferry-coordinator"), "--cluster", "--kubeconfig", self.ferry.kubeconfig, "--namespace",
                 self.ferry.ns, "--identity", self.name, "--bind", f"tcp://127.0.0.1:{self.port}", "--http",
                 f"127.0.0.1:{self.http}", "--state", self.state, "--agent-image", "vmferry:test", "--advertise",
                 self.ferry.service.address, *self.ferry.times, *self.options]
        self.process = Process(words, self.log, env=self.environment)
        return self

    def alive(self):
        return self.process.child.poll() is None

    def signal(self, number):
        self.process.child.send_signal(number)

    def kill(self):
        self.process.child.kill()
        return self.process.child.wait()

    def stop(self):
        """The exit code."""
        if self.alive():
            self.signal(signal.SIGCONT)
        return self.process.stop()

    def text(self):
        return self.log.read_text(errors="replace")

    def writes(self):
        """Writes to the API server that a run with VMFERRY_EXIT_AT_WRITE told of."""
        return re.findall(r"^write (\d+): (.*)$", self.text(), re.M)


class FerryCluster:
    def __init__(self, directory, bed, node, service, ns=OURS, kubeconfig=None):
        """kubeconfig: whom coordinators act as; else the administrator."""
        self.directory, self.bed, self.node, self.service, self.ns = pathlib.Path(directory), bed, node, service, ns
        self.kubeconfig = kubeconfig or bed.kubeconfig
        self.times = FAST  # (): those that users get
        self.directory.mkdir(parents=True, exist_ok=True)
        self.coordinators, self.agents = {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in [*self.coordinators.values(), *self.agents.values()]:
            each.stop()

    # ---- processes

    def coordinator(self, name="coordinator-a", *options, **environment):
        self.coordinators[name] = Coordinator(self, name, options, environment)
        return self.coordinators[name]

    def published(self):
        """The coordinator's public key, where agents find it; None: not yet."""
        status, answer = self.bed.request("GET", PATHS["ConfigMap"].format(self.ns) + "/vmferry-coordinator")
        return answer["data"]["public-key"] if status == 200 else None

    def public_key(self):
        return self.wait_for(self.published, 60, "the coordinator's public key")

    def agent(self, name="node-1", limit=None, state=None):
        """The agent of a node: a process, and its pod of the DaemonSet, to which its token is bound."""
        words = [program("vmferry-agent"), "--coordinator", self.service.address, "--server-key", self.public_key(),
                 "--key-file", self.directory / f"{name}.key", "--node", name, "--state",
                 state or self.directory / f"agent-{name}", "--kubelet-volumes", "--kubelet-root", self.node.root,
                 "--token-file", self._token_of_agent(name)]
        if limit:
            words += ["--limit", limit]
        self.agents[name] = Process(words, self.directory / f"agent-{name}.log")
        return self.agents[name]

    def _token_of_agent(self, node):
        path = self.directory / f"{node}.token"
        if path.exists():
            return path
        container = {"name": "agent", "image": "test"}
        template = {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [container]}}
        daemon_sets = f"/apis/apps/v1/namespaces/{self.ns}/daemonsets"
        status, daemon_set = self.bed.request("GET", f"{daemon_sets}/vmferry-agent")
        if status != 200:
            daemon_set = self.bed.must("POST", daemon_sets, {
                "metadata": {"name": "vmferry-agent"},
                "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template}})
        accounts = f"/api/v1/namespaces/{self.ns}/serviceaccounts"
        if self.bed.request("GET", f"{accounts}/vmferry-agent")[0] != 200:  # else it is that of the manifests
            self.bed.must("POST", accounts, {"metadata": {"name": "vmferry-agent"}})
        pod = self.bed.must("POST", PATHS["Pod"].format(self.ns), {
            "metadata": {"name": f"agent-{node}", "labels": {"app": "agent"}, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "vmferry-agent", "controller": True,
                 "uid": daemon_set["metadata"]["uid"]}]},
            "spec": {"nodeName": node, "serviceAccountName": "vmferry-agent", "containers": [container]}})
        answer = self.bed.must("POST", f"/api/v1/namespaces/{self.ns}/serviceaccounts/vmferry-agent/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
                "audiences": ["vmferry-coordinator"], "expirationSeconds": 3600, "boundObjectRef": {
                    "apiVersion": "v1", "kind": "Pod", "name": f"agent-{node}", "uid": pod["metadata"]["uid"]}}})
        path.write_text(answer["status"]["token"])
        return path

    def leader(self):
        """Name of the coordinator that the Lease names, by our own reading of it."""
        status, lease = self.bed.request("GET", PATHS["Lease"].format(self.ns) + "/vmferry-coordinator")
        holder = lease["spec"].get("holderIdentity", "") if status == 200 else ""
        return holder.rpartition("_")[0]

    # ---- objects

    def apply(self, *objects, ns="default"):
        for each in objects:
            each = json.loads(json.dumps(each))
            each["metadata"]["namespace"] = ns
            self.bed.must("POST", PATHS[each["kind"]].format(ns), each)

    def get(self, kind, name, ns="default"):
        status, answer = self.bed.request("GET", f"{PATHS[kind].format(ns)}/{name}")
        return answer if status == 200 else None

    def list(self, kind, ns="default", selector=""):
        query = f"?labelSelector={selector}" if selector else ""
        return self.bed.must("GET", PATHS[kind].format(ns) + query)["items"]

    def delete(self, kind, name, ns="default", policy="Background"):
        return self.bed.must("DELETE", f"{PATHS[kind].format(ns)}/{name}", {"propagationPolicy": policy})

    def conditions(self, name, ns="default"):
        listed = (((self.get("VirtualMachineImport", name, ns) or {}).get("status")) or {}).get("conditions") or []
        return {each["type"]: each for each in listed}

    def wait_for(self, predicate, timeout=60, what="what was waited for"):
        deadline = time.monotonic() + timeout
        while True:
            try:
                value = predicate()
            except (OSError, http.client.HTTPException, RuntimeError, KeyError):
                value = None  # the API server is away
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come within {timeout} s\n{self.story()}")
            time.sleep(0.1)

    def wait_succeeded(self, name, ns="default", timeout=120):
        condition = self.wait_for(lambda: self.conditions(name, ns).get("Succeeded"), timeout, f"the end of {ns}/{name}")
        assert condition["status"] == "True", f"{condition}\n{self.story()}"
        return condition

    def moved(self, name, ns="default"):
        found = self.get("VirtualMachineImport", name, ns) or {}
        return sum(disk.get("movedBytes", 0) for disk in (found.get("status") or {}).get("disks") or [])

    # ---- how it has to end

    def check_end(self, name, images, ns="default", vm=None):
        """One VM, one claim a disk with its source's bytes, and nothing else of ours left."""
        def tidy():
            return self.leftovers(name, images, ns, vm) == []
        try:
            self.wait_for(tidy, 40, "a tidy end")
        except AssertionError:
            raise AssertionError(f"left over: {self.leftovers(name, images, ns, vm)}\n{self.story()}") from None
        found = self.get("VirtualMachineImport", name, ns)
        assert found["status"]["targetVmName"] == (vm or name), found["status"]
        disks = found["status"]["disks"]
        assert len(disks) == len(images), disks
        for disk, image in zip(disks, images):
            assert disk.get("verified") is True, disk
            claim = self.get("PersistentVolumeClaim", disk["claim"], ns)
            compare_image(self.node.disk(claim["spec"]["volumeName"]) / "disk.img", image)
        assert self.node.faults == [], self.node.faults
        return found

    def leftovers(self, name, images, ns="default", vm=None):
        found = self.get("VirtualMachineImport", name, ns)
        left = []
        if found["metadata"].get("finalizers"):
            left.append(f"finalizers {found['metadata']['finalizers']}")
        machines = [each["metadata"]["name"] for each in self.list("VirtualMachine", ns)]
        if machines != [vm or name]:
            left.append(f"virtual machines {machines}")
        claims = [each["metadata"]["name"] for each in self.list("PersistentVolumeClaim", ns)]
        if len(claims) != len(images):
            left.append(f"claims {claims}")
        left += [f"pod {each['metadata']['name']}" for each in self.list("Pod", ns)]
        uid = found["metadata"]["uid"]
        for each in self.list("ConfigMap", ns) + self.list("ConfigMap", self.ns):
            if uid in json.dumps(each["metadata"]):
                left.append(f"config map {each['metadata']['name']}")
        if mounted := [m for m in self.node.mounts().values() for m, _ in m
                       if any(m == "pvc-" + c["metadata"]["uid"] for c in self.list("PersistentVolumeClaim", ns))]:
            left.append(f"mounted volumes {mounted}")
        return left

    def story(self):
        parts = []
        try:
            parts.append(json.dumps([i.get("status") for i in self.list("VirtualMachineImport")], indent=1)[-3000:])
            parts.append(json.dumps([p["metadata"]["name"] for p in self.list("Pod")]))
        except (OSError, RuntimeError) as error:
            parts.append(f"the API server: {error}")
        for path in sorted(self.directory.glob("*.log")):
            parts.append(f"== {path.name}\n{path.read_text(errors='replace')[-3500:]}")
        return "\n".join(parts)


def secret(name, provider, text):
    return plain_secret(name, provider, text)


__all__ = ["FerryCluster", "Coordinator", "secret", "vm_import"]
