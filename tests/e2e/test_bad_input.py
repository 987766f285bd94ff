"""Wrong requests: a clear reason with its remedy, nothing left behind, everything still up, and the next one works."""
import contextlib
import json
import os
import shutil
import socket
import subprocess

import pytest

import bed
from scene import OVIRT_MAPPINGS, VMWARE_MAPPINGS, ovirt_vm, vmware_vm


@pytest.fixture
def web(scene):
    """A vCenter with one small VM "good", and a running VMFerry."""
    scene.web = scene.vcenter(vmware_vm("good", [scene.images["odd-size"]]),
                              vmware_vm("twin", [scene.images["odd-size"]], folder="a"),
                              vmware_vm("twin", [scene.images["odd-size"]], folder="b"))
    scene.base(scene.web)
    scene.ferry.up(agents=2)
    scene.started = scene.ferry.pids()
    return scene


def nothing_left(scene):
    """No VM, claim or file of ours on the target, no session beyond the one kept, every process is the one it was."""
    assert scene.ferry.list("vms") == []
    scene.ferry.wait_for(lambda: scene.ferry.list("claims") == [], 30, "the claims' end")
    scene.ferry.wait_for(lambda: scene.ferry.remains() == [], 30, "the end of the target's files")
    assert scene.ferry.pids() == scene.started


def a_good_import_succeeds(scene):
    scene.vmware_import("good")
    scene.ferry.wait_succeeded("good")
    scene.ferry.check_disks("good", [scene.images["odd-size"]])
    assert scene.ferry.pids() == scene.started


def names(text, *words):
    for word in words:
        assert word.lower() in text.lower(), f"'{word}' is not in: {text}"


def refused(scene, name, reason, *words):
    """The import ended at once with these conditions, which name what is wrong."""
    failed = scene.ferry.wait_condition(name, "Succeeded", "False", "ValidationFailed", timeout=60)
    valid = scene.ferry.wait_condition(name, "Valid", "False", reason, timeout=5)
    names(failed.get("message", "") + valid.get("message", ""), *words)
    done = scene.ferry.try_run("wait", "import", name, "--timeout", "5s")
    assert done.returncode == 1, done.stdout + done.stderr
    nothing_left(scene)
    a_good_import_succeeds(scene)


def blocked(scene, name, reason, *words):
    """The import waits, says why, and is not terminal."""
    valid = scene.ferry.wait_condition(name, "Valid", "False", reason)
    names(valid["message"], *words)
    assert "Succeeded" not in scene.ferry.conditions(name)
    nothing_left(scene)
    a_good_import_succeeds(scene)


def test_an_unknown_source_section_is_refused_by_apply(web):
    """LC-1"""
    tree = bed.vm_import("bad", "hyperv", {"name": "good"}, "source")
    with pytest.raises(bed.CommandFailed) as error:
        web.ferry.apply(tree)
    assert error.value.code == 3
    names(error.value.err, "bad", "spec.source", "ovirt", "vmware")
    assert web.ferry.get("imports", "bad") is None
    nothing_left(web)
    a_good_import_succeeds(web)


def test_two_source_sections_are_refused_by_apply(web):
    """LC-2"""
    tree = bed.vm_import("bad", "vmware", {"name": "good"}, "source", VMWARE_MAPPINGS)
    tree["spec"]["source"]["ovirt"] = {"vm": {"name": "good"}, "mappings": OVIRT_MAPPINGS}
    with pytest.raises(bed.CommandFailed) as error:
        web.ferry.apply(tree)
    assert error.value.code == 3
    names(error.value.err, "bad", "vmware", "ovirt")
    assert web.ferry.get("imports", "bad") is None
    nothing_left(web)
    a_good_import_succeeds(web)


def test_a_missing_secret_ends_the_import(web):
    web.ferry.apply(bed.vm_import("bad", "vmware", {"name": "good"}, "nowhere", VMWARE_MAPPINGS))
    refused(web, "bad", "SecretNotFound", "nowhere")


def test_a_secret_without_its_keys_ends_the_import(web):
    web.ferry.apply(bed.secret("thin", "vmware", web.web.secret(password=None)))
    web.ferry.apply(bed.vm_import("bad", "vmware", {"name": "good"}, "thin", VMWARE_MAPPINGS))
    refused(web, "bad", "UninitializedProvider", "password")


def test_a_wrong_password_ends_the_import(web):
    web.ferry.apply(bed.secret("wrong", "vmware", web.web.secret(password="not-this-one")))
    web.ferry.apply(bed.vm_import("bad", "vmware", {"name": "good"}, "wrong", VMWARE_MAPPINGS))
    refused(web, "bad", "UnreachableProvider", "password", "VMF-SRC-AUTH")
    assert "not-this-one" not in web.ferry.story() + web.ferry.run("get", "events", "-o", "yaml")


def test_a_wrong_thumbprint_ends_the_import(web):
    web.ferry.apply(bed.secret("wrong", "vmware", web.web.secret(thumbprint=":".join(["AB"] * 20))))
    web.ferry.apply(bed.vm_import("bad", "vmware", {"name": "good"}, "wrong", VMWARE_MAPPINGS))
    refused(web, "bad", "UnreachableProvider", "thumbprint", "VMF-SRC-TLS")


def test_an_unreachable_server_ends_the_import(web):
    web.ferry.apply(bed.secret("wrong", "vmware", web.web.secret(apiUrl="https://127.0.0.1:1/sdk")))
    web.ferry.apply(bed.vm_import("bad", "vmware", {"name": "good"}, "wrong", VMWARE_MAPPINGS))
    refused(web, "bad", "UnreachableProvider", "127.0.0.1:1", "VMF-SRC-UNREACHABLE")


def test_a_wrong_ovirt_password_ends_the_import(scene):
    engine = scene.engine(ovirt_vm("good", [scene.images["odd-size"]]))
    scene.base(engine, password="not-this-one")
    scene.ferry.up(agents=1)
    scene.started = scene.ferry.pids()
    scene.ovirt_import("bad", {"name": "good", "cluster": {"name": "Default"}})
    failed = scene.ferry.wait_condition("bad", "Succeeded", "False", "ValidationFailed")
    valid = scene.ferry.wait_condition("bad", "Valid", "False", "UnreachableProvider", timeout=5)
    names(failed["message"] + valid["message"], "password")
    nothing_left(scene)
    scene.base(engine)
    scene.ovirt_import("good")
    scene.ferry.wait_succeeded("good")


def test_a_vm_that_is_not_there_blocks(web):
    web.vmware_import("bad", {"name": "nobody"})
    blocked(web, "bad", "SourceVMNotFound", "nobody")


def test_an_ambiguous_name_blocks_and_tells_the_candidates(web):
    web.vmware_import("bad", {"name": "twin"})
    blocked(web, "bad", "SourceVMNotFound", "twin", "/a/twin", "/b/twin")


def test_an_unknown_storage_class_blocks(web):
    mappings = bed.mapping([({"name": "VM Network"}, "pod")], [({"name": "LocalDS_0"}, "nowhere")])
    web.vmware_import("bad", {"name": "good"}, mappings=mappings, targetVmName="bad")
    web.ferry.wait_for(lambda: any(each["status"] == "False" for each in web.ferry.conditions("bad").values()), 30)
    valid = web.ferry.wait_condition("bad", "Valid", "False", timeout=5)
    names(valid["message"], "nowhere")
    assert "Succeeded" not in web.ferry.conditions("bad")
    nothing_left(web)
    a_good_import_succeeds(web)
    # Once the class is there the import goes on by itself.
    web.ferry.apply(bed.storage_class("nowhere", "elsewhere"))
    web.ferry.wait_succeeded("bad", 60)


def test_a_disk_missing_on_the_server_fails_and_is_undone(scene):
    scene.web = scene.vcenter(vmware_vm("good", [scene.images["odd-size"]]),
                              vmware_vm("hollow", [scene.images["odd-size"], scene.images["odd-size"]], power="on"))
    scene.base(scene.web)
    scene.ferry.up(agents=2)
    scene.started = scene.ferry.pids()
    disk = scene.web.vm("hollow")["disks"][1]
    scene.web.control("/delete-file", {"path": disk["file"].split("] ", 1)[1].replace(".vmdk", "-flat.vmdk")})
    scene.vmware_import("hollow")
    failed = scene.ferry.wait_condition("hollow", "Succeeded", "False", "DataVolumeCreationFailed", timeout=90)
    names(failed["message"], "Hard disk 2")
    scene.ferry.wait_for(lambda: scene.web.power("hollow") == "on", 30, "the source's power")
    nothing_left(scene)
    a_good_import_succeeds(scene)


@contextlib.contextmanager
def small_filesystem(directory, megabytes):
    directory.mkdir()
    mount = shutil.which("mount")
    done = mount and os.geteuid() == 0 and subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", directory], stderr=subprocess.PIPE, check=False)
    if not done or done.returncode != 0:
        pytest.skip("a small tmpfs cannot be mounted here: not root, or no permission")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=False)


@pytest.mark.parametrize("overcommit", [True, False], ids=["found out while writing", "seen before"])
def test_a_full_target_fails_and_is_undone(scene, overcommit):
    scene.web = scene.vcenter(vmware_vm("good", [scene.images["odd-size"]]), vmware_vm("big", [scene.images["dense"]]))
    with small_filesystem(scene.directory / "small", 24) as small:
        scene.base(scene.web)
        parameters = {"overcommit": "true"} if overcommit else {}
        scene.ferry.apply(bed.storage_class("small", small, **parameters))
        scene.ferry.up(agents=2)
        scene.started = scene.ferry.pids()
        mappings = bed.mapping([({"name": "VM Network"}, "pod")], [({"name": "LocalDS_0"}, "small")])
        try:
            scene.vmware_import("big", mappings=mappings)
            failed = scene.ferry.wait_condition("big", "Succeeded", "False", "DataVolumeCreationFailed", timeout=90)
            names(failed["message"], "space")
            nothing_left(scene)
            scene.ferry.wait_for(lambda: [p for p in small.rglob("*") if p.is_file()] == [], 20, "an empty target")
            a_good_import_succeeds(scene)
        finally:
            scene.ferry.down()


def test_malformed_yaml_is_refused_with_file_and_line(web):
    with pytest.raises(bed.CommandFailed) as error:
        web.ferry.apply(text="apiVersion: v1\nkind: Secret\nmetadata:\n  name: [unclosed\n")
    assert error.value.code == 3
    names(error.value.err, "applied-", ":5:")
    with pytest.raises(bed.CommandFailed) as error:
        web.ferry.apply(text=bed.documents(bed.secret("half", "vmware", "x")) + "---\n{ nonsense\n")
    assert error.value.code == 3
    assert web.ferry.get("secrets", "half") is None, "nothing of a file with an error is applied"
    nothing_left(web)
    a_good_import_succeeds(web)


def coordinator_port(ferry):
    address = json.loads((ferry.home / "run/coordinator.json").read_text())
    return int(address["address"].rsplit(":", 1)[1]), address


def test_garbage_on_the_agent_port_changes_nothing(web):
    port, _ = coordinator_port(web.ferry)
    for blob in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(1 << 16), b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03" + bytes(4096), b""):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
            stranger.sendall(blob)
            stranger.settimeout(0.5)
            stranger.recv(1 << 16)
    nothing_left(web)
    a_good_import_succeeds(web)


def test_a_stranger_with_a_key_of_its_own_is_not_let_in(web):
    zmq = pytest.importorskip("zmq", reason="python3-zmq is not installed")
    _, address = coordinator_port(web.ferry)
    public, private = zmq.curve_keypair()
    context = zmq.Context()
    try:
        for key in (address.get("publicKey") or address.get("public_key"), zmq.curve_keypair()[0]):
            stranger = context.socket(zmq.DEALER)
            stranger.linger = 0
            stranger.curve_publickey, stranger.curve_secretkey = public, private
            stranger.curve_serverkey = key.encode() if isinstance(key, str) else key
            stranger.connect(address["address"])
            for blob in (b"hello", b"\x81\xa4type\xa5hello", os.urandom(4096)):
                stranger.send(blob)
            assert stranger.poll(1500) == 0, "the coordinator answered a stranger"
            stranger.close()
    finally:
        context.destroy(linger=0)
    assert len(web.ferry.agents()) == 2
    nothing_left(web)
    a_good_import_succeeds(web)
