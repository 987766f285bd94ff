"""`vmferry inventory`: what a source has, through the real program."""
import json
import signal
import subprocess
import time

import bed
from scene import vmware_vm


def secret_file(scene, vcenter, name="secret.yaml", **changes):
    path = scene.directory / name
    path.write_text(bed.documents(bed.secret("source", "vmware", vcenter.secret(**changes))))
    return path


def crowd(scene, count=24):
    vms = [vmware_vm(f"app-{number:02}", [scene.images["odd-size"]], folder=f"prod/tier {number % 4}",
                     nics=[{"type": "vmxnet3", "network": "VM Network"}]) for number in range(count)]
    return vms + [vmware_vm("db", [scene.images["odd-size"], scene.images["odd-size"]], folder="data")]


def items(scene, kind, secret, *options):
    return json.loads(scene.ferry.run("inventory", kind, "--secret", secret, "-o", "json", *options))["items"]


def test_vms_of_nested_folders_are_listed_as_table_json_and_yaml(scene):
    vcenter = scene.vcenter(*crowd(scene))
    secret = secret_file(scene, vcenter)
    table = scene.ferry.run("inventory", "vms", "--secret", secret).splitlines()
    assert table[0].split()[:4] == ["ID", "NAME", "PATH", "POWER"]
    assert len(table) == 26
    found = items(scene, "vms", secret, "--name", "APP-0?")
    assert [each["name"] for each in found] == [f"app-{number:02}" for number in range(10)]
    assert found[3]["path"] == "DC0/vm/prod/tier 3/app-03"
    assert found[3]["memory"] == 1 << 30
    assert found[3]["id"] == vcenter.vm("app-03")["moref"]
    assert "items:" in scene.ferry.run("inventory", "vms", "--secret", secret, "-o", "yaml")
    assert "UUID" in scene.ferry.run("inventory", "vms", "--secret", secret, "-o", "wide").splitlines()[0]


def test_disks_networks_and_datastores_have_the_names_that_mappings_take(scene):
    vcenter = scene.vcenter(*crowd(scene, 2))
    secret = secret_file(scene, vcenter)
    disks = items(scene, "disks", secret, "--name", "db")
    assert [each["name"] for each in disks] == ["Hard disk 1", "Hard disk 2"]
    assert {each["datastore"] for each in disks} == {"LocalDS_0"}
    assert {each["readBy"] for each in disks} == {"https"}
    networks = {each["name"]: each for each in items(scene, "networks", secret)}
    assert networks["VM Network"]["kind"] == "standard"
    assert networks["DC0_DVPG0"]["kind"] == "distributed"
    stores = items(scene, "datastores", secret)
    assert [each["name"] for each in stores] == ["LocalDS_0"]
    assert stores[0]["capacity"] > stores[0]["free"] > 0


def test_an_applied_secret_is_named_and_no_session_stays_behind(scene):
    vcenter = scene.vcenter(*crowd(scene, 1))
    scene.base(vcenter)
    before = vcenter.state()
    scene.ferry.run("inventory", "vms", "--secret", "source")
    after = vcenter.state()
    assert after["sessions"] == before["sessions"]
    assert after["logins"] == before["logins"] + 1


def test_a_wrong_password_thumbprint_or_kind_is_told_with_a_remedy(scene):
    vcenter = scene.vcenter(*crowd(scene, 1))
    cases = [("vms", {"password": "wrong"}, 1, "VMF-SRC-AUTH"),
             ("vms", {"thumbprint": "00:" * 19 + "00"}, 1, "VMF-SRC-TLS"),
             ("vms", {"apiUrl": "https://127.0.0.1:9/sdk"}, 1, "VMF-SRC-UNREACHABLE"),
             ("vms", {"password": ""}, 3, "VMF-REQ-SECRET-INVALID"),
             ("clusters", {}, 3, "a vmware source has no clusters; it has vms, disks, networks and datastores"),
             ("hosts", {}, 3, "'hosts' is nothing to list")]
    for kind, changes, code, text in cases:
        secret = secret_file(scene, vcenter, **changes)
        done = scene.ferry.try_run("inventory", kind, "--secret", secret)
        assert done.returncode == code, (kind, changes, done.stderr)
        assert text in done.stderr, (kind, changes, done.stderr)
        assert done.stdout == ""
        assert "correct horse" not in done.stderr
    missing = scene.ferry.try_run("inventory", "vms", "--secret", "nobody")
    assert missing.returncode == 1 and "VMF-REQ-SECRET-MISSING" in missing.stderr


def test_ctrl_c_ends_a_slow_listing_which_had_said_what_it_waits_for(scene):
    vcenter = scene.vcenter(*crowd(scene, 1))
    secret = secret_file(scene, vcenter)
    vcenter.control("/fault", {"method": "RetrievePropertiesEx", "delay_ms": 20000})
    child = subprocess.Popen([str(scene.ferry.program), "--home", str(scene.ferry.home), "inventory", "vms", "--secret",
                              str(secret)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(3.5)
    child.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, err = child.communicate(timeout=15)
    assert time.monotonic() - start < 12
    assert child.returncode == 130, err
    assert "reading vms of https://" in err
