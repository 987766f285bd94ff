"""Fixtures: every test has its own directory, home, certificates, peers and ports."""
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE)]

import bed
import peers
from scene import Scene


@pytest.fixture(scope="session")
def images():
    """Small images, made once for all tests of this build."""
    directory = pathlib.Path(os.environ.get("VMFERRY_TEST_IMAGES", peers.ROOT / "build/images-small"))
    directory.mkdir(parents=True, exist_ok=True)
    return peers.make_images(directory, 0.25)


@pytest.fixture
def scene(tmp_path, images):
    """See scene.py. Afterwards everything is stopped, and nothing may be left running."""
    if not os.access(bed.vmferry_program(), os.X_OK):
        pytest.skip(f"{bed.vmferry_program()} is not built")
    made = Scene(tmp_path, images)
    try:
        yield made
    finally:
        made.close()
    left = subprocess.run(["pgrep", "-f", "--", str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False).stdout
    assert not left.split(), f"processes left behind: {left}"


@pytest.fixture
def vddk(scene):
    """Makes an installation of VDDK for one vCenter, whose disks the stand-in serves; the options of `up` for it."""
    bed = pathlib.Path(os.environ.get("VMFERRY_VDDK_BED", peers.ROOT / "build/vddk-bed"))
    program = bed / "sbin/nbdkit"
    if not os.access(program, os.X_OK):
        pytest.skip(f"nbdkit's vddk plugin is not built: tests/support/vddk/build.sh {bed}")

    def install(vcenter, **demands):
        directory = scene.directory / "vddk"
        directory.mkdir()
        (directory / "lib64").symlink_to(bed / "vddk/lib64")
        demands = dict({"root": next(iter(vcenter.ready["datastores"].values())), "server": "127.0.0.1", "user": vcenter.user,
                        "password": vcenter.password, "thumbprint": vcenter.ready["thumbprint_sha1"],
                        "log": directory / "calls"}, **demands)
        (directory / "stand-in.conf").write_text("".join(f"{key}={value}\n" for key, value in demands.items()))
        scene.vddk_options = ["--nbdkit", program, "--vddk-libdir", directory]
        return scene.vddk_options
    return install
