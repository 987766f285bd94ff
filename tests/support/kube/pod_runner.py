"""Runs the processes of mover pods on a stand-in of a node: what the pod's spec says, as the user that it says, in a file
system of its own (pod_process.py), with a projected token that is bound to the pod. Of a container's isolation the
processes and the network are missing."""
import json
import os
import pathlib
import subprocess
import sys
import time

PROCESS = pathlib.Path(__file__).resolve().parent / "pod_process.py"


class Movers:
    def __init__(self, bed, directory, programs):
        """programs: the folder that has what the image would have in /usr/bin."""
        self.bed, self.directory, self.programs = bed, pathlib.Path(directory), pathlib.Path(programs)
        self.logs = []  # one of each pod
        self._running, self._asked = {}, {}

    def keep(self, pod, disks):
        """Starts it, and starts it again when it has ended. disks: claim -> where its content is."""
        uid = pod["metadata"]["uid"]
        child = self._running.get(uid)
        if child is None or child.poll() is not None:
            self._running[uid] = self._start(pod, disks)

    def has_ended(self, pod):
        """Asks it to end, kills it after its grace; whether it is gone."""
        uid = pod["metadata"]["uid"]
        child = self._running.get(uid)
        if child is None or child.poll() is not None:
            self._running.pop(uid, None)
            return True
        if uid not in self._asked:
            self._asked[uid] = time.monotonic()
            child.terminate()
        elif time.monotonic() - self._asked[uid] > pod["spec"]["terminationGracePeriodSeconds"]:
            child.kill()
        return False

    def kill(self, pod):
        self._running[pod["metadata"]["uid"]].kill()

    def stop(self):
        for child in self._running.values():
            if child.poll() is None:
                child.kill()
            child.wait()

    def _start(self, pod, disks):
        metadata, container = pod["metadata"], pod["spec"]["containers"][0]
        home = self.directory / metadata["uid"]
        user = pod["spec"]["securityContext"]["runAsUser"]
        group = pod["spec"]["securityContext"]["fsGroup"]
        mounts = [[str(self.programs / name), f"/opt/{name}", "ro"] for name in container["command"][:1]]
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for mount in container["volumeMounts"]:
            source = self._volume(pod, volumes[mount["name"]], home, disks, group)
            mounts.append([str(source), mount["mountPath"], "ro" if mount.get("readOnly") else "rw"])
        environment = {"PATH": "/usr/bin"}
        for variable in container.get("env", []):
            field = variable["valueFrom"]["fieldRef"]["fieldPath"]
            environment[variable["name"]] = metadata[field.removeprefix("metadata.")]
        program = container["command"] + container.get("args", [])
        spec = home / "process.json"
        spec.write_text(json.dumps({"root": str(home / "root"), "mounts": mounts, "user": user, "environment": environment,
                                    "command": [f"/opt/{program[0]}", *program[1:]]}))
        log = self.directory / f"{metadata['uid']}.log"
        if log not in self.logs:
            self.logs.append(log)
        with open(log, "ab") as sink:
            return subprocess.Popen([sys.executable, str(PROCESS), str(spec)], stdin=subprocess.DEVNULL, stdout=sink,
                                    stderr=sink)

    def _volume(self, pod, volume, home, disks, group):
        """A folder with what the kubelet would mount."""
        if "persistentVolumeClaim" in volume:
            return disks[volume["persistentVolumeClaim"]["claimName"]]
        folder = home / volume["name"]
        folder.mkdir(parents=True, exist_ok=True)
        if "projected" in volume:
            wanted, = [each["serviceAccountToken"] for each in volume["projected"]["sources"]]
            token = folder / wanted["path"]
            token.touch(mode=0o640)
            token.write_text(self._token(pod, wanted))
            os.chown(token, 0, group)
        else:
            assert "emptyDir" in volume, volume
            os.chown(folder, 0, group)
            folder.chmod(0o2770)
        return folder

    def _token(self, pod, wanted):
        metadata = pod["metadata"]
        account = pod["spec"].get("serviceAccountName", "default")
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        answer = self.bed.must("POST", path, {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
                "audiences": [wanted["audience"]], "expirationSeconds": wanted["expirationSeconds"],
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}}})
        return answer["status"]["token"]
