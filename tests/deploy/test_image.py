"""The image that make_image.py builds, and the Containerfile that takes it from there."""
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


# ---- the Containerfile: its first stage needs a registry and a long time, so what that says is carried out by hand

def instructions():
    """[(word, rest)], lines that go on joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "image/Containerfile").read_text(), flags=re.MULTILINE)
    return [tuple(line.split(None, 1)) for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]


def stages():
    """The two, each without its FROM, which come first."""
    words = instructions()
    begins = [at for at, (word, _) in enumerate(words) if word == "FROM"]
    return [words[at][1] for at in begins], words[begins[0] + 1:begins[1]], words[begins[1] + 1:]


def contents(folder_or_layer):
    """Path -> (mode, link, digest of the content)."""
    if folder_or_layer.is_file():
        with tarfile.open(folder_or_layer) as layer:
            return {each.name: (each.mode, each.linkname, layer.extractfile(each).read() if each.isfile() else None)
                    for each in layer}
    found = {}
    for directory, folders, files in os.walk(folder_or_layer):
        for path in (pathlib.Path(directory) / name for name in folders + files):
            link = os.readlink(path) if path.is_symlink() else ""
            content = path.read_bytes() if path.is_file() and not link else None
            found[str(path.relative_to(folder_or_layer))] = (path.lstat().st_mode & 0o7777, link, content)
    return found


def test_a_builder_would_make_the_very_image_that_is_tested_here(image, tmp_path):
    froms, build, final = stages()
    assert froms == ["docker.io/library/debian:bookworm-slim AS build", "scratch"], "what make_image.py takes is Debian 12's"
    made = re.search(r"\bdeploy/daemonset/image/make_image\.py (.*)$", build[-1][1]).group(1).split()
    words = [{"build/release": str(programs()), "/rootfs": str(tmp_path / "rootfs")}.get(word, word) for word in made]
    subprocess.run([sys.executable, MAKER, *words], check=True)
    assert [rest for word, rest in final if word == "COPY"] == ["--from=build /rootfs /"]
    assert contents(tmp_path / "rootfs") == contents(layer_of(image, tmp_path))


@pytest.fixture
def buildah(tmp_path):
    """Calls buildah with a store of its own, which is gone afterwards; no daemon, no registry, no container runtime."""
    if os.geteuid() != 0 or not shutil.which("buildah"):
        pytest.skip("needs root and buildah: apt-get install --no-install-recommends buildah")
    store = ["--root", tmp_path / "store", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]

    def call(*words):
        done = subprocess.run(["buildah", *store, *words], capture_output=True, text=True, check=False,
                              env=dict(os.environ, BUILDAH_ISOLATION="chroot"))
        assert done.returncode == 0, f"buildah {words}: {done.stderr}"
        return done.stdout.strip()
    yield call
    call("rm", "--all")
    call("rmi", "--all", "--force")


def test_a_builder_makes_the_last_stage_which_runs(image, buildah, tmp_path):
    """What the first stage leaves, from here; then the Containerfile's own words."""
    context = tmp_path / "context"
    subprocess.run([sys.executable, MAKER, "--programs", programs(), "--rootfs", context / "rootfs"], check=True)
    text = (DEPLOY / "image/Containerfile").read_text()
    (context / "Containerfile").write_text("FROM scratch AS build\nCOPY rootfs /rootfs\n" + text[text.index("FROM scratch"):])
    buildah("build", "--tag", "localhost/vmferry:built", "--file", context / "Containerfile", context)
    config = json.loads(buildah("inspect", "--type", "image", "localhost/vmferry:built"))["OCIv1"]["config"]
    wanted = json.loads(read(image, json.loads(read(image, "manifest.json"))[0]["Config"]))["config"]
    assert {name: config[name] for name in ("Cmd", "WorkingDir")} == {name: wanted[name] for name in ("Cmd", "WorkingDir")}
    assert wanted["Env"][0] in config["Env"] and wanted["Labels"].items() <= config["Labels"].items()
    container = buildah("from", "--pull-never", "localhost/vmferry:built")
    root = pathlib.Path(buildah("mount", container))
    built, ours = contents(root), contents(layer_of(image, tmp_path))
    assert {name: entry for name, entry in built.items() if name in ours} == ours
    assert "Usage" in buildah("run", container, "vmferry", "--help")
    assert "Usage" in buildah("run", container, "vmferry-agent", "--help")


def test_a_builder_would_configure_it_the_same(image):
    config = json.loads(read(image, json.loads(read(image, "manifest.json"))[0]["Config"]))["config"]
    said = {word: rest for word, rest in stages()[2] if word != "COPY"}
    assert set(said) == {"ENV", "LABEL", "WORKDIR", "CMD"}
    assert [said["ENV"]] == config["Env"]
    assert dict(re.findall(r'(\S+)="([^"]*)"', said["LABEL"])) == config["Labels"]
    assert said["WORKDIR"] == config["WorkingDir"] and json.loads(said["CMD"]) == config["Cmd"]


def test_what_a_builder_would_run_exists_here():
    build = stages()[1]
    install, compile_ = [rest for word, rest in build if word == "RUN"]
    assert [rest for word, rest in build if word == "COPY"] == [". ."]
    packages = install[install.index("--no-install-recommends"):].split()[1:]
    wanted = re.search(r"^product_packages=\((.*?)\)", (ROOT / "dev").read_text(), re.MULTILINE | re.DOTALL).group(1).split()
    wanted += ["python3", "binutils", "ca-certificates", "nbdkit"]  # of make_image.py
    assert [name for name in wanted if name not in packages] == []
    known = subprocess.run(["apt-cache", "show", "--no-all-versions", *packages], capture_output=True, text=True, check=False)
    if "Package:" in known.stdout:  # else this machine has no lists
        assert "No packages found" not in known.stderr and "Unable to locate" not in known.stderr, known.stderr
    cmake = (ROOT / "CMakeLists.txt").read_text()
    for option in re.findall(r"-D(\w+)=", compile_):
        assert f"option({option} " in cmake, option
    preset = re.search(r"--preset (\S+)", compile_).group(1)
    assert preset in [each["name"] for each in json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]]
    assert re.search(r"--target ([\w -]+?) &&", compile_).group(1).split() == list(PROGRAMS)


def test_a_builder_gets_all_that_is_kept_in_git_and_nothing_that_was_built():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert set(ignored) == {".git", "build"}
    kept = subprocess.run(["git", "ls-files", "--", *ignored], cwd=ROOT, capture_output=True, text=True, check=False)
    assert kept.stdout == ""
