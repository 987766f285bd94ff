"""The official Python SDK is satisfied with the engine."""

import json
import os
import subprocess

import pytest

from bed import PYTHON


def has_sdk():
    return os.path.exists(PYTHON) and subprocess.run(
        [PYTHON, "-c", "import ovirtsdk4"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_sdk(), reason="no ovirt-engine-sdk-python in OVIRT_IMAGEIO_VENV")
def test_the_sdk_finds_stops_and_downloads_a_machine(start, imageio_kind, tmp_path):
    engine = start(imageio_kind)
    out = tmp_path / "out.img"
    client = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sdk_client.py")
    done = subprocess.run(
        [PYTHON, client, engine.ready["url"], engine.ready["ca"], "admin@internal",
         os.path.join(engine.directory, "password"), "web one", str(out)],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["attached"]["web one"] == 2
    refused = seen.pop("refused")
    assert refused[0] == 409 and "Cannot transfer Virtual Disk" in refused[1]
    assert seen.pop("down") == [409, "[Cannot shutdown VM. VM is not running.]"]
    assert seen == {
        "version": "4.5.4-1.el8", "memory": 1 << 30, "bios": "q35_ovmf", "sockets": 2,
        "aliases": ["boot", "data"], "sizes": [10486272, 12582912], "networks": ["blue"],
        "macs": ["56:6f:00:00:00:01", engine.get("/vms/%s/nics" % engine.vm("web one")["id"])[1]
                 .findtext("mac/address")],
        "page": ["web one"], "found": ["boot"], "clusters": ["Default", "Other"],
        "domains": ["data"], "profiles": ["blue/fast", "blue/slow", "ovirtmgmt/ovirtmgmt"],
        "cds": [], "attached": seen["attached"],
        "cluster": "Default", "links": ["boot", "data"], "missing": 404, "locked": "locked"}
    with open(os.path.join(engine.directory, "raw.img"), "rb") as file:
        assert out.read_bytes() == file.read()
    state = engine.control("/state")
    assert [t["finalized"] for t in state["transfers"]] == [True]
    assert [t["extended"] for t in state["transfers"]] == [True]
    assert state["sessions"]["closed"] == 1
