"""The beds that the tests beside this file start."""
import os
import subprocess

import pytest
from vcsim_client import HERE, WEB_UUID, Bed, Client, image


def inventory(directory):
    return {"datacenter": "DC0", "vms": [
        {"name": "web01", "uuid": WEB_UUID, "folder": "prod/web", "guest_id": "rhel9_64Guest", "guest_full_name": "RHEL 9",
         "cpus": 4, "cores_per_socket": 2, "memory_mb": 4096, "firmware": "efi", "secure_boot": True, "power": "on",
         "tools": "toolsOk", "host_name": "web01.example", "shutdown_seconds": 1, "extra": {"config.cpuHotAddEnabled": "true"},
         "disks": [{"size_bytes": 10 << 20, "image": str(image(directory)), "thin": True},
                   {"size_bytes": 1 << 20, "mode": "independent_persistent"},
                   {"size_bytes": 1 << 20, "controller": "sata"}, {"size_bytes": 1 << 20, "controller": "nvme"},
                   {"size_bytes": 1 << 20, "controller": "ide"}],
         "nics": [{"type": "vmxnet3", "network": "DC0_DVPG0", "mac": "00:50:56:aa:bb:01"},
                  {"type": "e1000e", "network": "VM Network", "connected": False}]},
        {"name": "twin", "folder": "a", "guest_id": "otherGuest64", "cpus": 1, "memory_mb": 512, "firmware": "bios",
         "power": "on", "tools": "toolsOk", "shutdown_seconds": -1, "disks": [{"size_bytes": 1 << 20}], "nics": []},
        {"name": "twin", "folder": "b", "guest_id": "otherGuest64", "cpus": 1, "memory_mb": 512, "firmware": "bios",
         "power": "off", "disks": [{"size_bytes": 1 << 20}], "nics": []},
    ]}


@pytest.fixture(scope="session", autouse=True)
def program():
    if "VCSIM_BED" not in os.environ:
        out = HERE.parents[2] / "build/bin/vcsim-bed"
        if subprocess.run([HERE / "build.sh", out], check=False).returncode != 0:
            pytest.skip("vcsim-bed cannot be built here")
        os.environ["VCSIM_BED"] = str(out)


@pytest.fixture
def bed(tmp_path):
    running = Bed(tmp_path, inventory(tmp_path))
    yield running
    running.stop()


@pytest.fixture
def client(bed):
    return Client(bed)


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bed")
    bed = Bed(directory, {"vms": []})
    yield Client(bed)
    bed.stop()
