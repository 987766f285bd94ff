"""A VMFerry home under test: `vmferry up` as a process, objects applied and read through its own CLI.

Used by the demo and the end-to-end tests; the peers that it imports from are in peers.py.
"""
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from peers import ROOT, Process, compare_image

GROUP = "v2v.kubevirt.io/v1beta1"
PREFIX = "vmimport.v2v.kubevirt.io/"
DISK_SOURCES = PREFIX + "disk-sources"
TRACKER = PREFIX + "tracker"


def vmferry_program():
    return pathlib.Path(os.environ.get("VMFERRY_BIN", ROOT / "build/dev/vmferry"))


def to_yaml(tree, indent=0):
    """Plain YAML of dicts, lists and scalars, strings quoted, text of several lines as a block."""
    pad = "  " * indent
    if isinstance(tree, dict) and tree:
        lines = []
        for key, value in tree.items():
            if isinstance(value, (dict, list)) and value:
                lines.append(f"{pad}{key}:\n{to_yaml(value, indent + 1)}")
            elif isinstance(value, str) and "\n" in value:
                body = "".join(f"{pad}  {line}\n" for line in value.splitlines())
                lines.append(f"{pad}{key}: |\n{body}")
            else:
                lines.append(f"{pad}{key}: {json.dumps(value)}\n")
        return "".join(lines)
    if isinstance(tree, list) and tree:
        return "".join(f"{pad}- " + to_yaml(item, indent + 1)[len(pad) + 2:] for item in tree)
    return f"{pad}{json.dumps(tree)}\n"


def documents(*trees):
    return "---\n".join(to_yaml(tree) for tree in trees)


def secret(name, provider, text):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "type": "Opaque",
            "stringData": {provider: text}}


def storage_class(name, path, default=False, **parameters):
    metadata = {"name": name}
    if default:
        metadata["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata,
            "provisioner": "vmferry.io/directory", "parameters": dict({"path": str(path)}, **parameters)}


def mapping(networks=(), storage=(), disks=()):
    """Mapping lists of (selector, target name) pairs; networks all go to the pod network."""
    def items(pairs, **more):
        return [dict({"source": dict(source), "target": {"name": target}}, **more) for source, target in pairs]
    lists = {"networkMappings": items(networks, type="pod"), "storageMappings": items(storage),
             "diskMappings": items(disks)}
    return {key: value for key, value in lists.items() if value}


def resource_mapping(name, provider, mappings):
    return {"apiVersion": GROUP, "kind": "ResourceMapping",
            "metadata": {"name": name, "namespace": "default"}, "spec": {provider: mappings}}


def vm_import(name, provider, vm, secret_name, mappings=None, external=None, annotations=None, labels=None, **spec):
    metadata = {"name": name, "namespace": "default"}
    if annotations:
        metadata["annotations"] = annotations
    if labels:
        metadata["labels"] = labels
    source = {"vm": vm}
    if mappings:
        source["mappings"] = mappings
    tree = dict({"providerCredentialsSecret": {"name": secret_name}}, **spec)
    if external:
        tree["resourceMapping"] = {"name": external}
    tree["source"] = {provider: source}
    return {"apiVersion": GROUP, "kind": "VirtualMachineImport", "metadata": metadata, "spec": tree}


class CommandFailed(Exception):
    def __init__(self, words, done):
        super().__init__(f"vmferry {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr


class Vmferry:
    """One embedded installation. Every call of the CLI works on this home."""

    def __init__(self, home, program=None):
        self.home = pathlib.Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.program = program or vmferry_program()
        self.supervisor = None
        self._files = 0

    # -- processes

    def up(self, agents=2, limit=None, *options, timeout=60):
        words = [self.program, "--home", self.home, "up", "--agents", agents]
        if limit:
            words += ["--limit", limit]
        log = self.home / "up.log"
        start = log.stat().st_size if log.exists() else 0
        self.supervisor = Process([*words, *options], log)
        deadline = time.monotonic() + timeout
        while b"vmferry is up" not in log.read_bytes()[start:]:
            if self.supervisor.child.poll() is not None or time.monotonic() > deadline:
                self.down()
                raise RuntimeError("vmferry up did not start:\n" + log.read_text()[-3000:])
            time.sleep(0.05)
        return self

    def down(self):
        if self.supervisor:
            self.supervisor.stop(30)
            self.supervisor = None

    def pid(self, name):
        """Of coordinator, agent-1, ...; None while it does not run."""
        try:
            pid = int((self.home / f"run/{name}.pid").read_text().strip())
            os.kill(pid, 0)
            return pid
        except (OSError, ValueError):
            return None

    def pids(self):
        return {path.stem: self.pid(path.stem) for path in (self.home / "run").glob("*.pid")}

    def kill9(self, name):
        pid = self.pid(name)
        assert pid, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill9_all(self):
        """The supervisor first, so that it starts nothing again."""
        pids = [pid for pid in self.pids().values() if pid]
        self.supervisor.child.kill()
        self.supervisor.child.wait()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.supervisor = None

    # -- the CLI

    def try_run(self, *words, text=None, timeout=120):
        return subprocess.run([str(self.program), "--home", str(self.home), *map(str, words)], text=True, input=text,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)

    def run(self, *words, **options):
        done = self.try_run(*words, **options)
        if done.returncode != 0:
            raise CommandFailed([str(word) for word in words], done)
        return done.stdout + done.stderr

    def apply(self, *trees, text=None):
        """Applies documents (trees or YAML text) from a file; what the command said."""
        self._files += 1
        path = self.home / f"applied-{self._files}.yaml"
        path.write_text(text if text is not None else documents(*trees))
        return self.run("apply", "-f", path)

    def get(self, kind, name):
        """The object; None when there is none."""
        done = self.try_run("get", kind, name, "-o", "json")
        if done.returncode != 0:
            if "there is no" in done.stderr:
                return None
            raise CommandFailed(["get", kind, name], done)
        return json.loads(done.stdout)

    def list(self, kind):
        tree = json.loads(self.run("get", kind, "-o", "json") or "[]")
        return tree.get("items", []) if isinstance(tree, dict) else tree

    def delete(self, kind, name, *options):
        return self.run("delete", kind, name, *options)

    # -- what an import is

    def conditions(self, name):
        found = self.get("imports", name)
        listed = ((found or {}).get("status") or {}).get("conditions") or []
        return {each["type"]: each for each in listed}

    def disks(self, name):
        return (((self.get("imports", name) or {}).get("status")) or {}).get("disks") or []

    def wait_for(self, predicate, timeout=60, what="what was waited for"):
        """Polls until predicate() is true; answers what it said."""
        deadline = time.monotonic() + timeout
        while True:
            value = predicate()
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come within {timeout} s\n{self.story()}")
            time.sleep(0.1)

    def wait_condition(self, name, kind, status, reason=None, timeout=60):
        def there():
            condition = self.conditions(name).get(kind)
            if condition and condition["status"] == status and reason in (None, condition.get("reason")):
                return condition
            return None
        return self.wait_for(there, timeout, f"{kind}={status}/{reason or '*'} of {name}")

    def wait_succeeded(self, name, timeout=90):
        def ended():
            return self.conditions(name).get("Succeeded")
        condition = self.wait_for(ended, timeout, f"the end of {name}")
        assert condition["status"] == "True", f"{condition['reason']}: {condition.get('message')}\n{self.story()}"
        return condition

    def ask(self, path):
        """JSON of the coordinator's live telemetry; [] while it does not answer."""
        try:
            connection = http.client.HTTPConnection("localhost", timeout=5)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(5)
            connection.sock.connect(str(self.home / "run/coordinator.sock"))
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException):
            return []

    def transfers(self, name=None):
        """Live transfers, of one import or all."""
        return [each for each in self.ask("/v1/transfers") if name is None or each["import"].endswith("/" + name)]

    def moved(self, name):
        """Bytes moved so far, live."""
        return sum(each["status"]["movedBytes"] for each in self.transfers(name))

    def agents(self):
        return self.ask("/v1/agents")

    def story(self):
        """Imports and the ends of the logs, for a failed test's report."""
        parts = [self.try_run("get", "imports", "-o", "yaml").stdout[-6000:]]
        for path in sorted((self.home / "log").glob("*.log")):
            parts.append(f"== {path.name}\n{path.read_text(errors='replace')[-2500:]}")
        return "\n".join(parts)

    def claim_path(self, claim):
        """The disk.img of a claim."""
        found = self.get("claims", claim)
        assert found, f"no claim {claim}"
        return pathlib.Path(found["metadata"]["annotations"]["vmferry.io/path"])

    def check_disks(self, name, sources):
        """Every disk of a finished import is verified and is, byte for byte, its source; paths in source order."""
        disks = self.disks(name)
        assert len(disks) == len(sources), disks
        for disk, source in zip(disks, sources):
            assert disk.get("verified") is True, disk
            compare_image(self.claim_path(disk["claim"]), source)
        return disks

    def remains(self):
        """Files below the default class's directory, of which a failed import leaves none."""
        return sorted(str(path) for path in (self.home / "volumes").rglob("*") if path.is_file())
