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
