"""What a cluster has besides its control plane, for tests without nodes: a provisioner, a scheduler, a kubelet with its
attach-detach controller, and a Service. Each does what the real one would and no more, against the real API server; what
the coordinator must not do (two holders of one volume, a volume used while it is unmounted, ...) is put down in `faults`.

    isolate()                                 # a mount namespace of this process; children inherit it
    node = Node(bed, directory / "node-1", "node-1", movers=Movers(bed, directory / "pods", agent_program))
    service = Service(bed, "vmferry", "vmferry-coordinator")
    node.faults, service.address
"""
import ctypes
import http.client
import os
import pathlib
import socket
import threading

CLONE_NEWNS, MS_REC, MS_PRIVATE, MS_BIND, MNT_DETACH = 0x20000, 0x4000, 0x40000, 0x1000, 2
LIBC = ctypes.CDLL(None, use_errno=True)
PROVISIONER = "stand-in.vmferry.io"
SELECTED_NODE = "volume.kubernetes.io/selected-node"


def _call(name, *arguments):
    if getattr(LIBC, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}{arguments}: {os.strerror(ctypes.get_errno())}")


def isolate():
    """Why no mounts can be made here; empty when they can, and then nobody else sees them."""
    try:
        _call("unshare", CLONE_NEWNS)
        _call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    except OSError as error:
        return f"needs the right to make mount namespaces ({error})"
    return ""


def mount(what, where, kind, flags=0, options=""):
    pathlib.Path(where).mkdir(parents=True, exist_ok=True)
    _call("mount", str(what).encode(), str(where).encode(), kind.encode() if kind else None, flags,
          options.encode() or None)


def unmount(where, flags=0):
    _call("umount2", str(where).encode(), flags)


def bytes_of(quantity):
    for suffix, unit in (("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40), ("k", 10**3), ("M", 10**6),
                         ("G", 10**9)):
        if quantity.endswith(suffix):
            return int(quantity[:-len(suffix)]) * unit
    return int(quantity)


class Node:
    """One node with a CSI driver of its own. Volumes are file systems in memory that outlive every pod. Holders need no
    process here; movers are run by `movers` (pod_runner.py)."""

    def __init__(self, bed, directory, name, classes=("standard",), movers=None):
        self.bed, self.name, self.movers = bed, name, movers
        self.root = pathlib.Path(directory) / "kubelet"
        self.volumes = pathlib.Path(directory) / "volumes"
        self.root.mkdir(parents=True)
        self.faults, self.pods_seen = [], set()
        self._mounted = {}  # pod uid -> [(volume, mount point)]
        self._made = {}  # volume -> where its file system is mounted
        self._stop = threading.Event()
        status, _ = bed.request("POST", "/api/v1/nodes", {"metadata": {"name": name}})
        assert status in (201, 409), status
        for each in classes:
            bed.request("POST", "/apis/storage.k8s.io/v1/storageclasses", {
                "metadata": {"name": each, "annotations": {
                    "storageclass.kubernetes.io/is-default-class": str(each == classes[0]).lower()}},
                "provisioner": PROVISIONER, "reclaimPolicy": "Delete",
                "volumeBindingMode": "WaitForFirstConsumer" if "wait" in each else "Immediate"})
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()
        if self.movers:
            self.movers.stop()
        for mounts in self._mounted.values():
            for _, where in mounts:
                unmount(where, MNT_DETACH)
        for where in self._made.values():
            unmount(where, MNT_DETACH)

    def disk(self, volume):
        """Where the content of a volume is, whatever is mounted."""
        return self._made[volume]

    def mounts(self):
        return {uid: list(mounts) for uid, mounts in self._mounted.items()}

    # ---- one round of everything, again and again

    def _run(self):
        while not self._stop.wait(0.05):
            try:
                self._round()
            except (OSError, http.client.HTTPException, RuntimeError, KeyError):  # the API server is away, or an object has just gone
                if self._stop.wait(0.2):
                    return

    def _items(self, path):
        status, answer = self.bed.request("GET", path)
        if status != 200:
            raise RuntimeError(f"{path}: {status}")
        return answer["items"]

    def _round(self):
        claims = {(c["metadata"]["namespace"], c["metadata"]["name"]): c
                  for c in self._items("/api/v1/persistentvolumeclaims")}
        pods = [p for p in self._items("/api/v1/pods?labelSelector=vmferry.io/holder")]
        for claim in claims.values():
            self._provision(claim)
        for pod in pods:
            self.pods_seen.add(pod["metadata"]["uid"])
            if not pod["spec"].get("nodeName"):
                self._schedule(pod, claims)
            elif pod["spec"]["nodeName"] == self.name:
                self._keep(pod, claims)
        self._reclaim()

    def _pod_claims(self, pod, claims):
        names = [v["persistentVolumeClaim"]["claimName"] for v in pod["spec"].get("volumes", [])
                 if "persistentVolumeClaim" in v]
        return [claims.get((pod["metadata"]["namespace"], name)) for name in names]

    # ---- the provisioner

    def _waits(self, claim):
        return "wait" in (claim["spec"].get("storageClassName") or "")

    def _provision(self, claim):
        if claim["spec"].get("volumeName") or claim["metadata"].get("deletionTimestamp"):
            return
        if self._waits(claim) and claim["metadata"].get("annotations", {}).get(SELECTED_NODE) != self.name:
            return
        metadata = claim["metadata"]
        status, _ = self.bed.request("POST", "/api/v1/persistentvolumes", {
            "metadata": {"name": "pvc-" + metadata["uid"],
                         "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
            "spec": {"capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                     "accessModes": claim["spec"]["accessModes"], "volumeMode": claim["spec"].get("volumeMode"),
                     "persistentVolumeReclaimPolicy": "Delete", "storageClassName": claim["spec"]["storageClassName"],
                     "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "uid": metadata["uid"],
                                  "namespace": metadata["namespace"], "name": metadata["name"]},
                     "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchFields": [
                         {"key": "metadata.name", "operator": "In", "values": [self.name]}]}]}},
                     "csi": {"driver": PROVISIONER, "volumeHandle": metadata["uid"]}}})
        if status not in (201, 409):
            self.faults.append(f"no volume for {metadata['name']}: {status}")

    def _reclaim(self):
        for volume in self._items("/api/v1/persistentvolumes"):
            if volume["status"].get("phase") != "Released" or volume["metadata"].get("deletionTimestamp"):
                continue
            name = volume["metadata"]["name"]
            if any(name == mounted for mounts in self._mounted.values() for mounted, _ in mounts):
                self.faults.append(f"volume {name} was given up while it is mounted")
            self.bed.request("DELETE", f"/api/v1/persistentvolumes/{name}")
            if name in self._made:
                unmount(self._made.pop(name), MNT_DETACH)

    # ---- the scheduler

    def _schedule(self, pod, claims):
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            return
        used = self._pod_claims(pod, claims)
        if None in used or any(c["metadata"].get("deletionTimestamp") for c in used):
            return
        for claim in used:
            annotations = claim["metadata"].get("annotations", {})
            if self._waits(claim) and annotations.get(SELECTED_NODE) != self.name:
                self.bed.request("PATCH", "/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}".format(
                    **claim["metadata"]), {"metadata": {"annotations": {SELECTED_NODE: self.name}}},
                    "application/merge-patch+json")
        if all(c["status"].get("phase") == "Bound" for c in used):
            self.bed.request("POST", f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding", {
                "apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]},
                "target": {"kind": "Node", "name": self.name}})

    # ---- the kubelet

    def _keep(self, pod, claims):
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if metadata.get("deletionTimestamp"):
            # First its processes, then its volumes, as the kubelet does.
            ended = self.movers is None or self.movers.has_ended(pod)
            if ended and self._let_go(metadata["uid"]):
                self.bed.request("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
                                                  "preconditions": {"uid": metadata["uid"]}})
            return
        if metadata["uid"] not in self._mounted:
            self._bring_up(pod, self._pod_claims(pod, claims))
        if self.movers and metadata["labels"]["vmferry.io/holder"] == "move":
            self.movers.keep(pod, {claim["metadata"]["name"]: self._made[claim["spec"]["volumeName"]]
                                   for claim in self._pod_claims(pod, claims)})
        if pod["status"].get("phase") != "Running":
            containers = [{"name": c["name"], "ready": True, "restartCount": 0, "image": c["image"], "imageID": "test",
                           "state": {"running": {}}} for c in pod["spec"]["containers"]]
            self.bed.request("PATCH", path + "/status", {"status": {
                "phase": "Running", "podIP": "127.0.0.1", "containerStatuses": containers}},
                "application/merge-patch+json")

    def _bring_up(self, pod, used):
        uid, mounts = pod["metadata"]["uid"], []
        for claim in used:
            volume = claim["spec"]["volumeName"]
            others = [other for other, theirs in self._mounted.items() if volume in (v for v, _ in theirs)]
            if others and claim["spec"]["accessModes"] == ["ReadWriteOnce"]:
                self.faults.append(f"two pods hold {volume}: {others} and {uid}")
            if volume not in self._made:
                where = self.volumes / volume
                # The whole of what was asked for, as a driver would give it.
                size = bytes_of(claim["spec"]["resources"]["requests"]["storage"])
                mount("tmpfs", where, "tmpfs", options=f"size={size},mode=0770,uid=107,gid=107")
                self._made[volume] = where
            self._attach(volume)
            where = self.root / "pods" / uid / "volumes/kubernetes.io~csi" / volume / "mount"
            mount(self._made[volume], where, None, MS_BIND)
            mounts.append((volume, where))
        self._mounted[uid] = mounts

    def _let_go(self, uid):
        """Unmounts; a file that somebody has open keeps the pod, as the real kubelet does."""
        left = []
        for volume, where in self._mounted.get(uid, []):
            try:
                unmount(where)
                self._detach(volume, uid)
            except OSError:
                left.append((volume, where))
        if left:
            self._mounted[uid] = left
            return False
        self._mounted.pop(uid, None)
        return True

    def _attach(self, volume):
        self.bed.request("POST", "/apis/storage.k8s.io/v1/volumeattachments", {
            "metadata": {"name": "csi-" + volume},
            "spec": {"attacher": PROVISIONER, "nodeName": self.name, "source": {"persistentVolumeName": volume}}})

    def _detach(self, volume, uid):
        if not any(volume in (v for v, _ in mounts) for other, mounts in self._mounted.items() if other != uid):
            self.bed.request("DELETE", f"/apis/storage.k8s.io/v1/volumeattachments/csi-{volume}")


class Service:
    """Leads TCP connections to the one pod that is labelled as the leader, as kube-proxy does: decided when a connection
    is made; what is connected stays. Pods say their port in annotation test/port."""

    def __init__(self, bed, ns, selector):
        self.bed, self.ns, self.selector = bed, ns, selector
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "tcp://127.0.0.1:%d" % self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._listener.close()
        self._thread.join(5)

    def endpoint(self):
        status, answer = self.bed.request("GET", f"/api/v1/namespaces/{self.ns}/pods?labelSelector={self.selector}")
        ports = [pod["metadata"]["annotations"]["test/port"] for pod in answer["items"]] if status == 200 else []
        return int(ports[0]) if ports else None

    def _accept(self):
        self._listener.settimeout(0.5)
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._lead, args=(client,), daemon=True).start()

    def _lead(self, client):
        try:
            port = self.endpoint()
            server = socket.create_connection(("127.0.0.1", port), 5) if port else None
        except (OSError, http.client.HTTPException):
            server = None
        if server is None:
            client.close()
            return
        server.settimeout(None)
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client)

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


