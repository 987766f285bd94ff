"""The image that make_image.py builds, and the Containerfile that says the same to a builder."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

import pytest

from conftest import DEPLOY, ROOT

MAKER = DEPLOY / "image/make_image.py"
PROGRAMS = ("vmferry", "vmferry-coordinator", "vmferry-agent")


def programs():
    folder = pathlib.Path(os.environ.get("VMFERRY_BIN", ROOT / "build/dev/vmferry")).parent
    for name in PROGRAMS:
        if not os.access(folder / name, os.X_OK):
            pytest.skip(f"{folder / name} is not built")
    return folder


def make(out):
    subprocess.run([sys.executable, MAKER, "--programs", programs(), "--out", out], check=True)
    return out


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return make(tmp_path_factory.mktemp("image") / "vmferry.tar")


def read(archive, name):
    with tarfile.open(archive) as tar:
        return tar.extractfile(name).read()


def layer_of(archive, folder):
    layer = json.loads(read(archive, "manifest.json"))[0]["Layers"][0]
    with tarfile.open(archive) as tar:
        tar.extract(layer, folder)
    return folder / layer


def test_an_archive_keeps_its_promises(image, tmp_path):
    manifest, = json.loads(read(image, "manifest.json"))
    assert manifest["RepoTags"] == ["localhost/vmferry:0.1"]
    config = read(image, manifest["Config"])
    assert manifest["Config"] == hashlib.sha256(config).hexdigest() + ".json"
    layer = layer_of(image, tmp_path)
    assert json.loads(config)["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer.read_bytes()).hexdigest()]


def test_an_image_is_small_and_has_what_we_run_and_nothing_else(image, tmp_path):
    with tarfile.open(layer_of(image, tmp_path)) as layer:
        entries = {entry.name: entry for entry in layer}
    for name in (*PROGRAMS, "kubectl-vmferry", "nbdkit"):
        assert f"usr/bin/{name}" in entries
    assert {name for name in entries if name.startswith("usr/bin/")} == {
        f"usr/bin/{name}" for name in (*PROGRAMS, "kubectl-vmferry", "nbdkit")}, "no shell, no tools"
    assert not [name for name in entries if "qemu" in name]
    assert "etc/ssl/certs/ca-certificates.crt" in entries
    assert image.stat().st_size < 120 << 20
    for entry in entries.values():
        assert entry.uid == entry.gid == 0 and entry.mtime == 0
        assert not entry.mode & 0o6000, f"{entry.name} is setuid"


def test_the_same_folder_gives_the_same_image(image, tmp_path):
    assert make(tmp_path / "again.tar").read_bytes() == image.read_bytes()


def test_the_programs_run_in_nothing_but_the_image(image, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root: chroot")
    root = tmp_path / "rootfs"
    with tarfile.open(layer_of(image, tmp_path)) as layer:
        layer.extractall(root)
    for command in (["vmferry", "--help"], ["vmferry-coordinator", "--help"], ["vmferry-agent", "--help"],
                    ["nbdkit", "--version"], ["nbdkit", "curl", "--dump-plugin"],
                    ["nbdkit", "--filter=cacheextents", "--filter=blocksize", "--filter=retry", "null", "--help"]):
        done = subprocess.run([shutil.which("chroot", path="/usr/sbin:/usr/bin"), str(root), *command], capture_output=True, text=True, env={"PATH": "/usr/bin"})
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_the_containerfile_installs_every_library_that_the_programs_need():
    text = (DEPLOY / "image/Containerfile").read_text()
    final = text[text.rindex("FROM "):]
    installed = set(re.findall(r"[a-z][a-z0-9.+-]+",
                               final[final.index("--no-install-recommends"):final.index("rm -rf")]))
    always = {"libc6", "libstdc++6", "libgcc-s1"}  # of debian:bookworm-slim, and of all C++ libraries
    needed = set()
    for name in PROGRAMS:
        dynamic = subprocess.run(["readelf", "--dynamic", programs() / name], capture_output=True, text=True, check=True)
        needed |= set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic.stdout))
    assert "libzmq.so.5" in needed
    for library in needed:
        owner = subprocess.run(["dpkg", "-S", f"*/{library}"], capture_output=True, text=True)
        packages = {line.split(":")[0] for line in owner.stdout.splitlines()}
        assert packages & (installed | always), f"{library} is of {packages or 'no package'}"


def test_the_containerfile_builds_with_the_packages_of_dev():
    text = (DEPLOY / "image/Containerfile").read_text()
    dev = (ROOT / "dev").read_text()
    wanted = re.search(r"^product_packages=\((.*?)\)", dev, re.MULTILINE | re.DOTALL).group(1).split()
    build = text[:text.rindex("FROM ")]
    assert [name for name in wanted if not re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", build)] == []
