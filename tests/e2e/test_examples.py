"""Every file under examples/ runs as it stands, but for addresses, passwords and places of this machine."""
import pathlib
import re

import pytest

import peers
from scene import ovirt_vm, vmware_vm

EXAMPLES = peers.ROOT / "examples"
WEB = "4204cdd7-7e62-f1f4-4e3f-0a2b3c4d5e6f"
FILES = "5c1f2b0a-8e0f-4f5a-9d57-6f3c7b0f9d11"


@pytest.fixture
def world(scene):
    """The VMs that the examples name, and their secrets and storage class applied."""
    one, two = scene.images["odd-size"], scene.images["efi"]
    scene.sources = {"web": [one, two], "database": [one], "mail": [one], "files": [one]}
    scene.vsphere = scene.vcenter(vmware_vm("web", [one, two], uuid=WEB), vmware_vm("database", [one]), datastore="datastore1")
    scene.ovirt = scene.engine(ovirt_vm("mail", [one]), ovirt_vm("files", [one], id=FILES))
    scene.ferry.up(agents=2)
    apply_example(scene, "secret-vmware.yaml", {
        r"https://vcenter.example.com/sdk": scene.vsphere.url, r"password: .*": f'password: "{peers.PASSWORD}"',
        r"thumbprint: .*": f"thumbprint: {scene.vsphere.thumbprint}"})
    indented = "\n".join("      " + line for line in scene.ovirt.ca.strip().splitlines())
    apply_example(scene, "secret-ovirt.yaml", {
        r"https://engine.example.com/ovirt-engine/api": scene.ovirt.url,
        r"password: .*": f'password: "{peers.PASSWORD}"\n    caCert: |\n{indented}'})
    apply_example(scene, "storage-class.yaml", {})
    return scene


def apply_example(scene, name, changes):
    text = (EXAMPLES / name).read_text()
    for pattern, value in changes.items():
        text, count = re.subn(pattern, lambda _match, value=value: value, text, count=1)
        assert count, f"{name} has no {pattern}"
    return scene.ferry.apply(text=text)


def imported(scene, name):
    scene.ferry.wait_succeeded(name)
    scene.ferry.check_disks(name, scene.sources[name])


def test_vmware_with_internal_mapping(world):
    apply_example(world, "import-vmware-internal.yaml", {})
    imported(world, "web")


def test_vmware_with_external_mapping(world):
    apply_example(world, "import-vmware-external-mapping.yaml", {})
    imported(world, "database")


def test_ovirt_with_internal_mapping(world):
    apply_example(world, "import-ovirt-internal.yaml", {})
    imported(world, "mail")


def test_ovirt_with_external_mapping(world):
    apply_example(world, "resource-mapping.yaml", {})
    apply_example(world, "import-ovirt-external-mapping.yaml", {})
    imported(world, "files")


def test_loosely_spelled_files_are_read_and_the_reading_is_told(world):
    said = apply_example(world, "loose/import-vmware.yaml", {})
    for word in ("Metadata", "Spec", "Target"):
        assert word in said, said
    assert "target" in said and "was read as" in said or "read" in said, said
    imported(world, "web")
    stored = world.ferry.get("imports", "web")["spec"]["source"]["vmware"]["mappings"]
    assert stored["networkMappings"][0] == {"source": {"name": "VM Network"}, "target": {"name": "pod"}, "type": "pod"}
    said = apply_example(world, "loose/resource-mapping.yaml", {})
    assert "Spec" in said and "Target" in said, said


def test_no_example_is_forgotten():
    known = {"import-vmware-internal", "import-vmware-external-mapping", "import-ovirt-internal", "import-ovirt-external-mapping",
             "resource-mapping", "secret-vmware", "secret-ovirt", "storage-class", "loose/import-vmware",
             "loose/resource-mapping"}
    there = {str(pathlib.Path(path).relative_to(EXAMPLES).with_suffix("")) for path in EXAMPLES.rglob("*.yaml")}
    assert there == known, "a new example needs a test here"
