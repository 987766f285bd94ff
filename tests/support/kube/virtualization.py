"""CDI and KubeVirt as far as imports meet them, against the real API server: a DataVolume adopts the claim that was
populated for it, a VM that shall run gets an instance that runs. What the real ones would choke on is put down in `faults`.

    cdi = Cdi(bed); kubevirt = KubeVirt(bed)
"""
import http.client
import threading

POPULATED_FOR, PRE_POPULATED = "cdi.kubevirt.io/storage.populatedFor", "cdi.kubevirt.io/storage.prePopulated"
MERGE = "application/merge-patch+json"


class _Controller:
    """One round of everything, again and again; errors are for the next round."""

    def __init__(self, bed):
        self.bed, self.faults = bed, []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.1):
            try:
                self._round()
            except (OSError, http.client.HTTPException, RuntimeError, KeyError):  # the API server is away, or an object gone
                if self._stop.wait(0.3):
                    return

    def _items(self, path):
        return self.bed.must("GET", path)["items"]


def _controller_of(item):
    return next((owner for owner in item["metadata"].get("ownerReferences", []) if owner.get("controller")), None)


class Cdi(_Controller):
    def __init__(self, bed):
        bed.must("POST", "/apis/cdi.kubevirt.io/v1beta1/cdiconfigs", {
            "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "CDIConfig", "metadata": {"name": "config"}, "spec": {}})
        bed.must("PATCH", "/apis/cdi.kubevirt.io/v1beta1/cdiconfigs/config/status",
                 {"status": {"filesystemOverhead": {"global": "0.06"}}}, content_type=MERGE)
        super().__init__(bed)

    def _round(self):
        for volume in self._items("/apis/cdi.kubevirt.io/v1beta1/datavolumes"):
            if volume.get("status", {}).get("phase") != "Succeeded" and "deletionTimestamp" not in volume["metadata"]:
                self._adopt(volume)

    def _adopt(self, volume):
        """pkg/controller/datavolume/controller-base.go: a claim that exists is taken if it was populated for this one."""
        name, ns, uid = (volume["metadata"][key] for key in ("name", "namespace", "uid"))
        path = f"/api/v1/namespaces/{ns}/persistentvolumeclaims/{name}"
        status, claim = self.bed.request("GET", path)
        if status != 200 or claim["metadata"].get("annotations", {}).get(POPULATED_FOR) != name:
            return self.faults.append(f"DataVolume {ns}/{name} finds no claim that was populated for it, and fills a new one")
        if volume["metadata"].get("annotations", {}).get(PRE_POPULATED) != name:
            self.faults.append(f"DataVolume {ns}/{name} is not marked as populated")
        controller = _controller_of(claim)
        if controller and controller["uid"] != uid:
            return self.faults.append(f"claim {ns}/{name} has another controller: {controller['kind']}")
        if not controller:
            owners = claim["metadata"].get("ownerReferences", []) + [{
                "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": name, "uid": uid,
                "controller": True, "blockOwnerDeletion": True}]
            status, _ = self.bed.request("PATCH", path, {"metadata": {
                "ownerReferences": owners, "resourceVersion": claim["metadata"]["resourceVersion"]}}, MERGE)
            if status != 200:
                return None  # a conflict: next round
        return self.bed.request("PATCH", f"/apis/cdi.kubevirt.io/v1beta1/namespaces/{ns}/datavolumes/{name}/status",
                                {"status": {"phase": "Succeeded", "progress": "100.0%"}}, MERGE)


class KubeVirt(_Controller):
    def __init__(self, bed):
        self.started = {}  # namespace/name -> how many instances it got
        super().__init__(bed)

    def _round(self):
        for vm in self._items("/apis/kubevirt.io/v1/virtualmachines"):
            if vm["spec"].get("runStrategy") in ("Always", "RerunOnFailure"):
                self._start(vm)

    def _start(self, vm):
        name, ns, uid = (vm["metadata"][key] for key in ("name", "namespace", "uid"))
        status, _ = self.bed.request("POST", f"/apis/kubevirt.io/v1/namespaces/{ns}/virtualmachineinstances", {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
            "metadata": {"name": name, "ownerReferences": [{
                "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": name, "uid": uid, "controller": True}]},
            "spec": vm["spec"]["template"]["spec"], "status": {"phase": "Running"}})
        if status == 201:
            key = f"{ns}/{name}"
            self.started[key] = self.started.get(key, 0) + 1
        elif status not in (409, 404):
            self.faults.append(f"no instance of {ns}/{name}: {status}")
