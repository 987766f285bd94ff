"""Fixtures of the engine's own tests: certificates, images and a running engine."""

import os
import subprocess

import pytest

import bed
from bed import PYTHON


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("bed")
    bed.make_certificates(path)
    bed.make_images(path)
    return path


@pytest.fixture(params=["builtin", "real"])
def imageio_kind(request):
    if request.param == "real" and not os.path.exists(PYTHON):
        pytest.skip("no ovirt-imageio: set OVIRT_IMAGEIO_VENV")
    return request.param


@pytest.fixture
def start(directory, tmp_path):
    """Starts engines that are stopped, and looked at for remains, after the test."""
    running = []

    def begin(kind="builtin", engine=None, vms=None, log_in=True, options=(), **more):
        running.append(bed.Engine(directory, tmp_path, kind, PYTHON,
                                  bed.inventory(engine, vms, **more), log_in,
                                  options))
        return running[-1]
    yield begin
    for engine in running:
        engine.stop()
        left = subprocess.run(["pgrep", "-f", engine.marker], stdout=subprocess.PIPE).stdout
        assert not left, "processes left behind: %r" % left


@pytest.fixture
def engine(start):
    return start()
