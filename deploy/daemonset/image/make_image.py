#!/usr/bin/python3
"""The image, from a build folder: the three programs, nbdkit, and the libraries that they are linked with, as this
machine (Debian 12) has them; no shell, no package manager, no emulator. The Containerfile beside this takes the same folder.

    deploy/daemonset/image/make_image.py --programs build/release --out vmferry.tar
    ctr --namespace k8s.io images import vmferry.tar       # on each node; or podman load, docker load
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from archive import write_archive  # noqa: E402

PROGRAMS = ("vmferry", "vmferry-coordinator", "vmferry-agent")
# What our command lines name (transfer/sources/nbdkit_command.cc), and what `vmferry copy [ nbdkit ... ]` is for.
FILTERS = ("blocksize", "cacheextents", "readahead", "retry")
PLUGINS = ("curl", "file", "nbd", "null")
PASSWD = ("root:x:0:0:root:/:/sbin/nologin\n" "qemu:x:107:107:runs virtual machines:/:/sbin/nologin\n"
          "vmferry:x:10001:10001:coordinator:/var/lib/vmferry:/sbin/nologin\n")
GROUP = "root:x:0:\nqemu:x:107:\nvmferry:x:10001:\n"
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


def fail(text):
    sys.exit(f"make_image.py: {text}")


def libraries_of(program):
    """The shared objects that the dynamic linker would load for it."""
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    if done.returncode:
        fail(f"ldd {program}: {done.stderr.strip() or done.stdout.strip()}")
    if missing := re.findall(r"^\s*(\S+) => not found", done.stdout, re.MULTILINE):
        fail(f"{program} needs {', '.join(missing)}, not found here")
    return {pathlib.Path(path) for path in re.findall(r"(?:=> |^\s*)(/\S+) \(", done.stdout, re.MULTILINE)}


class Rootfs:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        for link, target in LINKS.items():
            self.directory(target)
            (self.folder / link).symlink_to(target)
        for name in ("etc", "proc", "sys", "dev", "run", "target", "var/lib/vmferry", "var/lib/kubelet"):
            self.directory(name)
        self.directory("tmp").chmod(0o1777)

    def directory(self, name):
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name, text):
        self.directory(pathlib.Path(name).parent)
        (self.folder / name).write_text(text)

    def copy(self, source, name=None, strip=False):
        """A file under its own path, or another; a symbolic link becomes what it points to."""
        target = self.folder / str(name or source).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return
        shutil.copyfile(os.path.realpath(source), target)
        target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
        if strip:
            subprocess.run(["strip", "--strip-unneeded", str(target)], check=True)

    def program(self, source, name, strip=False):
        self.copy(source, name, strip)
        for library in libraries_of(source):
            self.copy(library)


def nbdkit_folder():
    done = subprocess.run(["nbdkit", "--dump-config"], capture_output=True, text=True, check=False)
    values = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if "plugindir" not in values:
        fail("no nbdkit here: apt-get install nbdkit")
    return pathlib.Path(values["plugindir"]), pathlib.Path(values["filterdir"])


def fill(rootfs, programs):
    for name in PROGRAMS:
        if not os.access(programs / name, os.X_OK):
            fail(f"{programs / name} is not built: ./dev build release")
        rootfs.program(programs / name, f"usr/bin/{name}", strip=True)
    (rootfs.folder / "usr/bin/kubectl-vmferry").symlink_to("vmferry")
    rootfs.program(shutil.which("nbdkit") or fail("no nbdkit here: apt-get install nbdkit"), "usr/bin/nbdkit")
    plugins, filters = nbdkit_folder()
    for folder, kind, names in ((plugins, "plugin", PLUGINS), (filters, "filter", FILTERS)):
        for name in names:
            rootfs.program(folder / f"nbdkit-{name}-{kind}.so", folder / f"nbdkit-{name}-{kind}.so")
    certificates = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    if not certificates.exists():
        fail("no certificates here: apt-get install ca-certificates")
    rootfs.copy(certificates)
    if os.path.exists("/etc/ssl/openssl.cnf"):
        rootfs.copy("/etc/ssl/openssl.cnf")
    rootfs.copy("/etc/os-release")
    rootfs.write("etc/passwd", PASSWD)
    rootfs.write("etc/group", GROUP)
    rootfs.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")


CONFIG = {"Env": ["PATH=/usr/bin"], "Cmd": ["vmferry", "--help"], "WorkingDir": "/",
          "Labels": {"org.opencontainers.image.title": "vmferry", "org.opencontainers.image.licenses": "Apache-2.0"}}


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--programs", type=pathlib.Path, default=pathlib.Path("build/release"),
                       help="folder with vmferry, vmferry-coordinator and vmferry-agent")
    flags.add_argument("--name", action="append", help="name of the image (localhost/vmferry:0.1); may be given again")
    what = flags.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=pathlib.Path, help="the archive to write")
    what.add_argument("--rootfs", type=pathlib.Path, help="the folder to fill instead: what is in the archive")
    options = flags.parse_args()
    if options.rootfs:
        options.rootfs.mkdir(parents=True)  # a new one: nothing else may be in it
        return fill(Rootfs(options.rootfs), options.programs)
    with tempfile.TemporaryDirectory(prefix="vmferry-image-") as folder:
        rootfs = Rootfs(folder)
        fill(rootfs, options.programs)
        names = options.name or ["localhost/vmferry:0.1"]
        image = write_archive(folder, names, options.out, CONFIG)
        print(f"{options.out}: {' '.join(names)}, {options.out.stat().st_size >> 20} MiB, sha256:{image}")
    return None


if __name__ == "__main__":
    main()
