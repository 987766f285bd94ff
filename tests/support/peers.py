"""The programs that demo and end-to-end tests import from: a vCenter, an oVirt engine, NBD servers.

Each is a real process that goes away with its parent. Needs Debian's python3 and what the README beside this
file names for each peer.
"""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

SUPPORT = pathlib.Path(__file__).resolve().parent
ROOT = SUPPORT.parents[1]
PYTHON = "/usr/bin/python3"  # Debian's: the one its packages are installed for
PASSWORD = "correct horse battery"
VCENTER_USER = "administrator@vsphere.local"
OVIRT_USER = "admin@internal"


class Missing(Exception):
    """A peer that is not installed here; the text names it. Tests skip, the demo ends."""


def vcsim_program():
    path = pathlib.Path(os.environ.get("VMFERRY_VCSIM_BED", ROOT / "build/vcsim-bed"))
    if not os.access(path, os.X_OK):
        raise Missing(f"the vCenter simulator '{path}' is not built: tests/support/vcsim/build.sh build/vcsim-bed")
    return path


def imageio_python():
    """The python of the venv that has the real ovirt-imageio; None: use the builtin server."""
    venv = os.environ.get("OVIRT_IMAGEIO_VENV", "")
    path = pathlib.Path(venv) / "bin/python"
    return path if venv and path.exists() else None


def make_pki(directory, *names):
    subprocess.run([SUPPORT / "pki.sh", directory, *names], check=True, stdout=subprocess.DEVNULL)
    return pathlib.Path(directory)


def make_images(directory, scale=1.0, only=()):
    """name -> path; what is there is kept."""
    command = [PYTHON, SUPPORT / "make_images.py", directory, "--scale", str(scale)]
    if only:
        command += ["--only", *only]
    made = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {image["name"]: pathlib.Path(image["path"]) for image in made}


class Process:
    """A child program with its log in a file."""

    def __init__(self, command, log, ready_line=False, **options):
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as sink:
            self.child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stderr=sink,
                                          stdout=subprocess.PIPE if ready_line else sink, **options)
        self.ready = None
        if ready_line:
            line = self.child.stdout.readline()
            if not line:
                self.stop()
                raise RuntimeError(f"{command[0]} did not start:\n{self.log.read_text()[-2000:]}")
            self.ready = json.loads(line)

    def stop(self, patience=20):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        if self.child.stdout:
            self.child.stdout.close()
        return self.child.returncode


def control(url, path, tree=None):
    """One request to a bed's control endpoint."""
    data = None if tree is None else json.dumps(tree).encode()
    request = urllib.request.Request(url.rstrip("/") + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{path}: {error.read().decode()}") from error


class Vcenter(Process):
    """vcsim-bed with `vms` of its bed file (tests/support/README.md)."""

    user, password = VCENTER_USER, PASSWORD

    def __init__(self, directory, pki, vms, listen="127.0.0.1:0", **inventory):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "password").write_text(PASSWORD)
        (directory / "bed.json").write_text(json.dumps(dict(inventory, vms=vms)))
        super().__init__([vcsim_program(), "--listen", listen, "--cert", pki / "vcenter.pem", "--key",
                          pki / "vcenter.key", "--user", VCENTER_USER, "--password-file", directory / "password",
                          "--inventory", directory / "bed.json", "--state", directory / "state", "--pid-with-parent"],
                         directory / "vcsim.log", ready_line=True)
        self.url = self.ready["url"]
        self.thumbprint = self.ready.get("thumbprint_sha1") or next(
            value for key, value in self.ready.items() if "sha1" in key.lower())

    def control(self, path, tree=None):
        return control(self.ready["control"], path, tree)

    def state(self):
        return self.control("/state")

    def vm(self, name):
        return next(vm for vm in self.ready["vms"] if vm["name"] == name)

    def power(self, name):
        """on, off or suspended, as the simulator says now."""
        text = json.dumps(self.state()["vms"][self.vm(name)["moref"]]["power"])
        return {"poweredOn": "on", "poweredOff": "off"}.get(text.strip('"'), text.strip('"'))

    def secret(self, **changes):
        fields = dict({"apiUrl": self.url, "username": self.user, "password": self.password,
                       "thumbprint": self.thumbprint}, **changes)
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in fields.items() if value is not None)


class Restartable(Process):
    """A process that can be killed and started again, with its log going on."""

    def kill(self):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()

    def start_again(self):
        Process.__init__(self, self.command, self.log, ready_line=True)


class OvirtHost(Restartable):
    """A host with the real imageio daemon that lives and dies by itself (tests/support/ovirt/host.py)."""

    def __init__(self, directory, pki):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        python = imageio_python()
        if not python:
            raise Missing("no ovirt-imageio: set OVIRT_IMAGEIO_VENV")
        self.runtime = tempfile.mkdtemp(prefix="ovirthost.")  # Unix sockets need a short path
        self.command = [PYTHON, SUPPORT / "ovirt/host.py", "--runtime", self.runtime, "--state", directory, "--cert",
                        pki / "engine.pem", "--key", pki / "engine.key", "--ca", pki / "ca.pem", "--imageio-python",
                        python, "--exit-with-parent", "--port", free_port()]
        super().__init__(self.command, directory / "host.log", ready_line=True)

    def stop(self, patience=20):
        code = super().stop(patience)
        shutil.rmtree(self.runtime, ignore_errors=True)
        return code


class OvirtEngine(Restartable):
    """The test engine with a bed tree (tests/support/ovirt/README.md)."""

    user, password = OVIRT_USER, PASSWORD

    def __init__(self, directory, pki, bed, imageio="auto", host=None, told=False, apart=None):
        """`apart`: an OvirtHost that has the images; such an engine can be killed and started again.
        `host`: a directory of make_pki(..., "host") whose certificate the host has instead of the engine's; told:
        the engine gives out its authority, as real ones do."""
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "password").write_text(PASSWORD)
        (directory / "bed.json").write_text(json.dumps(bed))
        command = [PYTHON, SUPPORT / "ovirt/engine.py", "--cert", pki / "engine.pem", "--key", pki / "engine.key",
                   "--ca", pki / "ca.pem", "--inventory", directory / "bed.json", "--state", directory / "state",
                   "--password-file", directory / "password", "--exit-with-parent"]
        if host:
            command += ["--imageio-cert", host / "host.pem", "--imageio-key", host / "host.key",
                        "--internal-ca" if told else "--host-ca", host / "ca.pem"]
        python = imageio_python()
        if apart:
            command += ["--host", apart.ready["socket"], "--listen", f"127.0.0.1:{free_port()}"]
        elif python and imageio != "builtin":
            command += ["--imageio", "real", "--imageio-python", python]
        else:
            command += ["--imageio", "builtin"]
        self.command, self.database = command, directory / "state/engine.json"
        super().__init__(command, directory / "engine.log", ready_line=True)
        self.url, self.ca = self.ready["url"], (pki / "ca.pem").read_text()

    def control(self, path, tree=None):
        return control(self.ready["control"], path, tree)

    def state(self):
        return self.control("/state")

    def vm(self, name):
        return next(vm for vm in self.ready["vms"] if vm["name"] == name)

    def power(self, name):
        return self.state()["vms"][self.vm(name)["id"]]["status"]

    def secret(self, **changes):
        fields = dict({"apiUrl": self.url, "username": self.user, "password": self.password, "caCert": self.ca}, **changes)
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in fields.items() if value is not None)


def make_chain(directory):
    """A qcow2 image over another, and what a guest sees of it as a raw file: paths by "over" and "raw"."""
    base, over, raw = (pathlib.Path(directory) / name for name in ("base.qcow2", "over.qcow2", "chain.raw"))

    def run(*words):
        subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
    run("qemu-img", "create", "-f", "qcow2", base, "12M")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 256k", "-c", "write -P 5 5M 1M", base)
    run("qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "qcow2", over, "16M")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 9 3M 128k", "-c", "write -z 1M 64k", "-c", "write -P 1 15M 512", over)
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", over, raw)
    return {"over": over, "raw": raw}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class NbdServer(Process):
    """nbdkit over TCP; every file of `directory` is an export of its own name."""

    def __init__(self, directory, log, filters=(), parameters=()):
        program = shutil.which("nbdkit")
        if not program:
            raise Missing("nbdkit is not installed: apt-get install nbdkit")
        self.port = free_port()
        words = [f"--filter={name}" for name in filters]
        super().__init__([program, "-f", "--exit-with-parent", "--readonly", "-i", "127.0.0.1", "-p", str(self.port),
                          *words, "file", f"dir={directory}", *parameters], log)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.child.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"nbdkit did not start:\n{self.log.read_text()[-2000:]}") from None
                time.sleep(0.02)

    def url(self, export):
        return f"nbd://127.0.0.1:{self.port}/{export}"


BLOCK = 1 << 20


def data_ranges(file, size):
    """(start, end) of what is not a hole."""
    position = 0
    while position < size:
        try:
            start = os.lseek(file, position, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but holes from here
            return
        position = min(os.lseek(file, start, os.SEEK_HOLE), size)
        yield start, position


def first_difference(target, source):
    """Where the two files differ as disks (the shorter one ends in zeros); None: nowhere. Holes cost nothing."""
    one, other = os.open(target, os.O_RDONLY), os.open(source, os.O_RDONLY)
    try:
        size = max(os.fstat(one).st_size, os.fstat(other).st_size)
        seen = set()
        for file in (one, other):
            for start, end in data_ranges(file, size):
                for block in range(start // BLOCK, -(-end // BLOCK)):
                    if block in seen:
                        continue
                    seen.add(block)
                    left = os.pread(one, BLOCK, block * BLOCK).ljust(BLOCK, b"\0")
                    right = os.pread(other, BLOCK, block * BLOCK).ljust(BLOCK, b"\0")
                    if left != right:
                        return block * BLOCK + next(i for i in range(BLOCK) if left[i] != right[i])
        return None
    finally:
        os.close(one)
        os.close(other)


def compare_image(target, source):
    """Raises AssertionError unless target is source, byte for byte; a target may only be longer by zeros."""
    target_size, source_size = os.stat(target).st_size, os.stat(source).st_size
    assert target_size >= source_size, f"{target} has {target_size} bytes, its source {source_size}"
    where = first_difference(target, source)
    assert where is None, f"{target} differs from {source} at byte {where}"


if __name__ == "__main__":
    sys.exit("a library: see tests/demo/demo.py and tests/e2e/")
