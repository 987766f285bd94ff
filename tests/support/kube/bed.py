#!/usr/bin/python3
"""A Kubernetes control plane for tests: etcd, kube-apiserver with RBAC, kube-controller-manager, on loopback.

    with KubeBed() as bed:
        bed.kubeconfig            # of an administrator
        bed.request("GET", "/api/v1/namespaces")
        bed.token("default", "default")
        bed.restart_apiserver(); bed.compact()

As a program (for fixtures of other languages) it prints one JSON line when all answers, then takes one command a line on
stdin and answers each with a JSON line: restart-apiserver, stop-apiserver, start-apiserver, compact, apply PATH. It ends,
and removes everything, at the end of stdin. VMFERRY_KUBE_BIN names the folder with the programs (tests/support/kube/build.sh).
"""
import argparse
import base64
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import yaml

sys.path.append(str(pathlib.Path(__file__).resolve().parent))  # last: other folders have a bed.py too
from pki import ISSUER, Authority  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
# What imports need of a cluster: claims and volumes, collection of dependents, accounts, quotas.
CONTROLLERS = ("persistentvolume-binder-controller", "persistentvolume-protection-controller",
               "persistentvolumeclaim-protection-controller", "garbage-collector-controller", "namespace-controller",
               "serviceaccount-controller", "root-ca-certificate-publisher-controller", "resourcequota-controller",
               "clusterrole-aggregation-controller")


def program_folder():
    return pathlib.Path(os.environ.get("VMFERRY_KUBE_BIN") or ROOT / "build/kube")


def missing(programs=PROGRAMS):
    """Why no control plane can run here; empty when one can."""
    for program in programs:
        if not os.access(program_folder() / program, os.X_OK):
            return f"needs {program} (tests/support/kube/build.sh), looked in {program_folder()}"
    return "" if shutil.which("openssl") else "needs openssl"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class NotUp(RuntimeError):
    pass


class KubeBed:
    # Where the API server is reached, and what its command line says of that; a bed with a node has others.
    address = "127.0.0.1"
    network_flags = ("--endpoint-reconciler-type=none",)
    command_prefix = ()  # of every program

    def __init__(self, apiserver_flags=(), controllers=CONTROLLERS, scheduler=False):
        """controllers: of kube-controller-manager; none: it is not started. scheduler: kube-scheduler too."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vmferry-kube-"))
        self._processes = {}
        self._flags = list(apiserver_flags)
        try:
            self._make_keys()
            self._start_with_free_ports()
            if controllers:
                self._start_controller_manager(controllers)
            if scheduler:
                self._start("kube-scheduler", "--kubeconfig", self.kubeconfig, "--leader-elect=false",
                            "--secure-port=0", "--profiling=false")
        except BaseException:
            self.stop()
            raise

    # ---- what tests use

    def request(self, method, path, body=None, content_type="application/json", token=None):
        """(status, decoded JSON or text), as the administrator or with a token."""
        context = self._context if token is None else self._plain_context
        connection = http.client.HTTPSConnection(self.address, self.port, context=context, timeout=30)
        headers = {"Content-Type": content_type}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text.decode(errors="replace")

    def must(self, method, path, body=None, **more):
        status, answer = self.request(method, path, body, **more)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer

    def namespace(self, name, **metadata):
        """Makes a namespace and waits for its default service account."""
        self.must("POST", "/api/v1/namespaces", {"metadata": dict(metadata, name=name)})
        self.wait_for(lambda: self.request("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default")[0] == 200,
                      f"the service account of {name}")
        return name

    def token(self, ns, account, audiences=(), seconds=3600):
        spec = {"expirationSeconds": max(seconds, 600)}
        if audiences:
            spec["audiences"] = list(audiences)
        answer = self.must("POST", f"/api/v1/namespaces/{ns}/serviceaccounts/{account}/token",
                           {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
        return answer["status"]["token"]

    def apply(self, *paths):
        """Server-side apply of YAML files, or of all in a folder; waits until CRDs among them are served."""
        for path in map(pathlib.Path, paths):
            for file in sorted(path.glob("*.yaml")) if path.is_dir() else [path]:
                for document in yaml.safe_load_all(file.read_text()):
                    for item in (document or {}).get("items", [document] if document else []):
                        self._apply_one(item)

    def apply_objects(self, *documents):
        for document in documents:
            self._apply_one(document)

    def _apply_one(self, document):
        path = self._path_of(document)
        self.must("PATCH", f"{path}?fieldManager=bed&force=true", document,
                  content_type="application/apply-patch+yaml")
        if document["kind"] == "CustomResourceDefinition":
            def established():
                conditions = self.must("GET", path).get("status", {}).get("conditions")
                return any(c["type"] == "Established" and c["status"] == "True" for c in conditions or [])
            self.wait_for(established, document["metadata"]["name"])

    def _path_of(self, document):
        version, kind, metadata = document["apiVersion"], document["kind"], document["metadata"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        for resource in self.must("GET", root)["resources"]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                if resource["namespaced"]:
                    root += f"/namespaces/{metadata.get('namespace', 'default')}"
                return f"{root}/{resource['name']}/{metadata['name']}"
        raise RuntimeError(f"{version} {kind} is not served")

    def restart_apiserver(self):
        self.stop_apiserver()
        self.start_apiserver()

    def stop_apiserver(self):
        self._end("kube-apiserver")

    def start_apiserver(self):
        self._start_apiserver()
        self._wait_for_apiserver()

    def compact(self):
        """Drops etcd's history up to now; returns the revision."""
        nothing = base64.b64encode(b"none").decode()
        revision = self._etcd("/v3/kv/range", {"key": nothing})["header"]["revision"]
        self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        return revision

    def wait_for(self, condition, what, seconds=30):
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise NotUp(f"{what} did not come within {seconds} s")
            time.sleep(0.05)

    def ready(self):
        return {"url": self.url, "kubeconfig": str(self.kubeconfig), "folder": str(self.folder),
                "ca": str(self.authority.certificate), "admin_cert": str(self.admin[0]),
                "admin_key": str(self.admin[1]), "issuer": ISSUER,
                "pids": {name: process.pid for name, process in self._processes.items()}}

    def log(self, program):
        path = self.folder / f"{program}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop_processes(self):
        for name in reversed(list(self._processes)):
            self._end(name)

    def stop(self):
        self.stop_processes()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- how it is started

    def _make_keys(self):
        self.authority = Authority(self.folder / "pki")
        names = ("DNS:localhost", "IP:127.0.0.1", "DNS:kubernetes.default.svc", "IP:10.96.0.1", f"IP:{self.address}")
        self._server = self.authority.issue("apiserver", "/CN=kube-apiserver", names)
        self.admin = self.authority.issue("admin", "/O=system:masters/CN=admin")
        self._signer = self.authority.signing_key("accounts")
        self._plain_context = ssl.create_default_context(cafile=str(self.authority.certificate))
        self._context = ssl.create_default_context(cafile=str(self.authority.certificate))
        self._context.load_cert_chain(*map(str, self.admin))

    def _start_with_free_ports(self):
        # Another process may take a port between its choice and its use.
        for attempt in range(3):
            self.port, self._etcd_port, peer = free_port(), free_port(), free_port()
            self.url = f"https://{self.address}:{self.port}"
            self.kubeconfig = self.write_kubeconfig("admin", self.admin)
            try:
                self._start_etcd(peer)
                self._start_apiserver()
                return self._wait_for_apiserver()
            except NotUp:
                if attempt == 2:
                    raise
                self._end("kube-apiserver")
                self._end("etcd")

    def write_kubeconfig(self, user, pair=None, token=None, url=None):
        """Of somebody with a certificate and its key, or with a token; returns the file. url: of who passes it on to us."""
        def inline(path):
            return base64.b64encode(path.read_bytes()).decode()
        if token is None:
            who = {"client-certificate-data": inline(pair[0]), "client-key-data": inline(pair[1])}
        else:
            who = {"token": token}
        path = self.folder / f"{user}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": user,
            "clusters": [{"name": "bed", "cluster": {"server": url or self.url,
                                                     "certificate-authority-data": inline(self.authority.certificate)}}],
            "users": [{"name": user, "user": who}],
            "contexts": [{"name": user, "context": {"cluster": "bed", "user": user, "namespace": "default"}}]}))
        return path

    def _start_etcd(self, peer_port):
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{peer_port}"
        # No fsync: what a test wrote need not survive the machine.
        self._start("etcd", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync", "--listen-client-urls", client,
                    "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                    "--initial-cluster", f"default={peer}", "--log-level", "warn")

    def _start_apiserver(self):
        keys = self.folder / "pki"
        self._start(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self._etcd_port}", f"--bind-address={self.address}",
            f"--secure-port={self.port}", f"--tls-cert-file={self._server[0]}",
            f"--tls-private-key-file={self._server[1]}", f"--client-ca-file={self.authority.certificate}",
            f"--service-account-issuer={ISSUER}", f"--service-account-signing-key-file={self._signer}",
            f"--service-account-key-file={self._signer}", "--authorization-mode=Node,RBAC",
            "--service-cluster-ip-range=10.96.0.0/24", *self.network_flags, "--allow-privileged=true",
            "--etcd-compaction-interval=0", "--profiling=false", f"--cert-dir={keys}", *self._flags)

    def _start_controller_manager(self, controllers):
        self._start("kube-controller-manager", "--kubeconfig", self.kubeconfig, "--leader-elect=false",
                    "--secure-port=0", "--profiling=false", f"--controllers={','.join(controllers)}",
                    f"--service-account-private-key-file={self._signer}",
                    f"--root-ca-file={self.authority.certificate}", "--pvclaimbinder-sync-period=1s",
                    "--resource-quota-sync-period=5s", "--kube-api-qps=100", "--kube-api-burst=200")

    def _start(self, program, *words):
        log = open(self.folder / f"{program}.log", "ab")
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        environment = dict(os.environ, GOGC="60", GOMAXPROCS="2")
        self._processes[program] = subprocess.Popen(
            [*guard, *self.command_prefix, str(program_folder() / program), *map(str, words)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        log.close()

    def _end(self, program):
        process = self._processes.pop(program, None)
        if process is None:
            return
        # At once: a graceful end of the API server waits for its watches, and nothing here is worth keeping.
        process.kill()
        process.wait()

    def _wait_for_apiserver(self, seconds=60):
        def is_ready():
            for program in ("etcd", "kube-apiserver"):
                if self._processes[program].poll() is not None:
                    raise NotUp(f"{program} ended: {self.log(program)[-2000:]}")
            try:
                return self.request("GET", "/readyz")[0] == 200
            except OSError:
                return False
        self.wait_for(is_ready, "the API server", seconds)

    def _etcd(self, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self._etcd_port, timeout=30)
        try:
            connection.request("POST", path, json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"etcd {path}: {answer.status} {text!r}")
        return json.loads(text)


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--no-controllers", action="store_true", help="no kube-controller-manager")
    flags.add_argument("--scheduler", action="store_true", help="kube-scheduler too")
    flags.add_argument("apiserver_flags", nargs="*", help="after --: more flags of kube-apiserver")
    options = flags.parse_args()
    reason = missing()
    if reason:
        sys.exit(reason)

    def on_signal(*_):
        raise SystemExit(0)
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    with KubeBed(options.apiserver_flags, () if options.no_controllers else CONTROLLERS, options.scheduler) as bed:
        print(json.dumps(bed.ready()), flush=True)
        commands = {"restart-apiserver": bed.restart_apiserver, "stop-apiserver": bed.stop_apiserver,
                    "start-apiserver": bed.start_apiserver, "compact": bed.compact, "apply": bed.apply}
        for line in sys.stdin:
            command, *words = line.split(maxsplit=1)
            try:
                answer = {"result": commands[command](*map(str.strip, words))}
            except Exception as failure:  # told to the other side, which fails its test with it
                answer = {"error": repr(failure)}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
