"""`vmferry validate`: what an import would do, and that asking changes nothing."""
import json
import os
import pathlib
import subprocess

import bed
from scene import OVIRT_MAPPINGS, VMWARE_MAPPINGS, WEB_UUID, ovirt_vm, vmware_vm

KINDS = ["imports", "mappings", "secrets", "configmaps", "events", "claims", "storageclasses", "vms", "namespaces"]


def manifest(scene, vcenter, name="web", mappings=VMWARE_MAPPINGS, secret=None, **spec):
    """A file with secret, class and import together."""
    path = scene.directory / f"{name}.yaml"
    path.write_text(bed.documents(
        bed.secret("source", "vmware", vcenter.secret(**(secret or {}))),
        bed.storage_class("standard", "volumes", default=True),
        bed.vm_import(name, "vmware", spec.pop("vm", {"name": "web"}), "source", mappings=mappings, **spec)))
    return path


def validate(scene, *words):
    done = scene.ferry.try_run("validate", *words, "-o", "json")
    tree = json.loads(done.stdout) if done.stdout else {"items": []}
    return done.returncode, tree["items"], done.stderr


def store_of(scene):
    return {kind: scene.ferry.run("get", kind, "-A", "-o", "json", "--show-secrets") for kind in KINDS}


def web(scene, **changes):
    return scene.vcenter(vmware_vm("web", [scene.images["bootable"], scene.images["odd-size"]], uuid=WEB_UUID,
                                   folder="prod", **changes))


def test_a_file_that_would_run_is_told_in_full_and_exits_0(scene):
    vcenter = web(scene)
    code, runs, err = validate(scene, "-f", manifest(scene, vcenter))
    assert code == 0, (runs, err)
    run = runs[0]
    assert run["verdict"] == "would run" and run["import"] == "default/web"
    assert run["source"]["path"] == "DC0/vm/prod/web"
    assert [disk["why"] for disk in run["disks"]] == ["the import's storageMappings, name 'LocalDS_0'"] * 2
    assert [disk["storageClass"] for disk in run["disks"]] == ["standard"] * 2
    assert run["networks"][0]["target"] == "pod network"
    assert run["os"]["name"] == "rhel8" or run["os"]["name"].startswith("rhel8"), run["os"]
    assert "rhel8_64Guest" in run["os"]["why"]
    assert run["template"]
    assert run["estimate"]["virtualBytes"] == sum(disk["sizeBytes"] for disk in run["disks"])
    assert run["virtualMachine"]["kind"] == "VirtualMachine"
    text = scene.ferry.run("validate", "-f", manifest(scene, vcenter), "--show-vm", "--rate", "10M")
    for expected in ("default/web: would run", "Findings:", "CHOSEN BY", "Estimate:", "10.0 MiB/s (--rate)",
                     "kind: VirtualMachine"):
        assert expected in text, text


def test_what_only_vddk_can_read_is_judged_by_the_agents_that_run(scene):
    encrypted = vmware_vm("web", [scene.images["odd-size"]], uuid=WEB_UUID)
    encrypted["disks"][0]["key_id"] = "key-1"
    vcenter = scene.vcenter(encrypted)
    path = manifest(scene, vcenter)
    code, (run,), _ = validate(scene, "-f", path)
    levels = {each["rule"]: each["level"] for each in run["findings"]}
    # Nobody can be asked, and it matters: neither a yes nor a no.
    assert (code, levels["vmware.vm.encryption"]) == (2, "warn"), run["findings"]
    assert "could not be asked (no coordinator runs here)" in run["notes"][-1], run["notes"]
    scene.ferry.up(1, None, "--vddk-stand-in", "file", "--vddk-stand-in", f"file={scene.directory}/{{path}}")
    scene.ferry.wait_for(lambda: [each["vddk"] for each in scene.ferry.agents()] == [True], 30, "the agent")
    code, (run,), _ = validate(scene, "-f", path)
    levels = {each["rule"]: each["level"] for each in run["findings"]}
    assert (code, levels["vmware.vm.encryption"]) == (0, "warn"), run["findings"]
    assert run["notes"][-1] == "1 of 1 agents can read disks through VDDK"


def test_asking_leaves_store_and_source_as_they_are(scene):
    vcenter = web(scene, power="on")
    scene.base(vcenter)
    scene.vmware_import("web")
    stored, source = store_of(scene), vcenter.state()
    assert validate(scene, "web")[0] == 0
    assert validate(scene, "-f", manifest(scene, vcenter, "other", targetVmName="other"))[0] == 0
    assert validate(scene, "-f", manifest(scene, vcenter, mappings=None))[0] == 1
    assert store_of(scene) == stored
    after = vcenter.state()
    assert after["sessions"] == source["sessions"]
    assert after["vms"] == source["vms"]
    assert after["logouts"] - source["logouts"] == after["logins"] - source["logins"] == 3
    reading = {"RetrieveServiceContent", "Login", "Logout", "CurrentTime", "RetrievePropertiesEx", "FindAllByUuid",
               "ContinueRetrievePropertiesEx", "CreateContainerView", "DestroyView", "FindByUuid", "FindByInventoryPath"}
    assert set(after["calls"]) <= reading, set(after["calls"]) - reading


def ovirt_manifest(scene, engine, name="mail", mappings=OVIRT_MAPPINGS, vm=None, **spec):
    path = scene.directory / f"{name}.yaml"
    path.write_text(bed.documents(
        bed.secret("source", "ovirt", engine.secret()),
        bed.storage_class("standard", "volumes", default=True),
        bed.vm_import(name, "ovirt", vm or {"name": "mail", "cluster": {"name": "Default"}}, "source",
                      mappings=mappings, **spec)))
    return path


def test_asking_about_an_ovirt_vm_only_reads(scene):
    images = [scene.images["bootable"], scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("mail", images, status="up"))
    before = engine.state()
    code, runs, err = validate(scene, "-f", ovirt_manifest(scene, engine))
    assert code == 0, (runs, err)
    run = runs[0]
    assert run["verdict"] == "would run" and run["targetVmName"] == "mail"
    assert run["source"]["power"] == "up" and run["source"]["path"] == "Default/mail"
    assert run["os"]["name"] == "rhel8.1" and "rhel_8x64" in run["os"]["why"]
    assert "vmferry-rhel" in run["template"]
    assert [disk["name"] for disk in run["disks"]] == ["mail_Disk1", "mail_Disk2"]
    assert [disk["sizeBytes"] for disk in run["disks"]] == [path.stat().st_size for path in images]
    assert run["networks"][0]["why"] == "the import's networkMappings, name 'ovirtmgmt/ovirtmgmt'"
    assert run["estimate"]["virtualBytes"] == sum(path.stat().st_size for path in images)
    text = scene.ferry.run("validate", "-f", scene.directory / "mail.yaml")
    assert "default/mail: would run" in text and "it would be shut down before its disks are read" in text
    # Blocked, and without a VM: as quiet.
    code, runs, _ = validate(scene, "-f", ovirt_manifest(scene, engine, "blocked", mappings=None))
    assert code == 1 and "network.mapping" in {each["rule"] for each in runs[0]["findings"]}
    assert validate(scene, "-f", ovirt_manifest(scene, engine, "nobody", vm={"name": "nobody"}))[0] == 1

    after = engine.state()
    asked = [(each["method"], each["path"]) for each in after["requests"][len(before["requests"]):]]
    logins = [path for method, path in asked if method == "POST" and "/sso/oauth/token" in path]
    logouts = [path for method, path in asked if method == "POST" and path.endswith("/services/sso-logout")]
    others = [each for each in asked if each[0] != "GET" and each[1] not in logins + logouts]
    assert others == []
    assert len(logins) == len(logouts) == 4, (logins, logouts)
    assert sum(method == "GET" for method, _ in asked) >= 3 * 3
    assert not any("imagetransfers" in path for _, path in asked)
    assert after["transfers"] == [] and after["sessions"]["alive"] == 0
    for kind in ("vms", "disks"):
        assert after[kind] == before[kind]


def test_an_ovirt_source_that_does_not_answer_exits_2(scene):
    engine = scene.engine(ovirt_vm("mail", [scene.images["odd-size"]]))
    path = ovirt_manifest(scene, engine)
    engine.control("/fault", {"path_regex": "/vms", "status": 503, "times": 0})
    code, runs, _ = validate(scene, "-f", path)
    assert code == 2 and runs[0]["verdict"] == "could not tell", runs


def test_where_there_is_no_home_none_is_made(scene):
    vcenter = web(scene)
    home = scene.directory / "nowhere"
    done = subprocess.run([str(scene.ferry.program), "--home", str(home), "validate", "-f",
                           str(manifest(scene, vcenter))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not home.exists()


def test_blocks_are_listed_all_at_once_with_remedies_and_exit_1(scene):
    vcenter = web(scene, power="suspended")
    code, runs, err = validate(scene, "-f", manifest(scene, vcenter, mappings={"storageMappings": [
        {"source": {"name": "LocalDS_0"}, "target": {"name": "no-such-class"}}]}))
    assert code == 1, (runs, err)
    blocks = [each for each in runs[0]["findings"] if each["level"] == "block"]
    rules = {each["rule"] for each in blocks}
    assert len(blocks) >= 3 and "vmware.vm.power_state" in rules and "vmware.storage.target" in rules, blocks
    text = scene.ferry.try_run("validate", "-f", scene.directory / "web.yaml").stdout
    assert "default/web: blocked" in text and "remedy:" in text


def test_what_cannot_be_read_now_exits_2_and_what_never_will_exits_1(scene):
    vcenter = web(scene)
    code, runs, _ = validate(scene, "-f", manifest(scene, vcenter, secret={"apiUrl": "https://127.0.0.1:9/sdk"}))
    assert code == 2 and runs[0]["verdict"] == "could not tell"
    assert "VMF-SRC-UNREACHABLE" in runs[0]["unknownWhy"]
    for changes, rule in (({"secret": {"password": "wrong"}}, "VMF-SRC-AUTH"),
                          ({"vm": {"name": "nobody"}}, "VMF-SRC-VM-NOT-FOUND"),
                          ({"secret": {"apiUrl": ""}}, "VMF-REQ-SECRET-INVALID")):
        code, runs, err = validate(scene, "-f", manifest(scene, vcenter, **changes))
        assert code == 1, (changes, err)
        assert rule in {each["rule"] for each in runs[0]["findings"]}, runs
    bad = scene.directory / "bad.yaml"
    bad.write_text("apiVersion: v1\nkind: Nonsense\nmetadata: {name: x}\n")
    assert scene.ferry.try_run("validate", "-f", bad).returncode == 3
    assert scene.ferry.try_run("validate", "nobody").returncode == 1


def test_the_answer_is_what_the_import_then_does(scene):
    vcenter = web(scene)
    path = manifest(scene, vcenter)
    foretold = validate(scene, "-f", path)[1][0]
    scene.ferry.up(agents=1)
    scene.ferry.run("apply", "-f", path)
    scene.ferry.wait_succeeded("web")
    made = scene.ferry.get("vms", "web")
    for field in ("cpu", "firmware", "memory"):
        assert made["spec"]["template"]["spec"]["domain"].get(field) == \
            foretold["virtualMachine"]["spec"]["template"]["spec"]["domain"].get(field)
    disks = scene.ferry.disks("web")
    assert [disk["name"] for disk in disks] == [disk["name"] for disk in foretold["disks"]]
    manifests = [line for line in scene.ferry.run("get", "vms").splitlines() if "web.yaml" in line]
    assert manifests, "get vms tells where the manifest lies"


def test_the_same_program_is_a_plugin_of_kubectl(scene):
    plugin = scene.directory / "kubectl-vmferry"
    os.symlink(pathlib.Path(scene.ferry.program).resolve(), plugin)
    shown = subprocess.run([str(plugin), "validate", "--help"], stdout=subprocess.PIPE, text=True, timeout=30, check=True)
    assert "kubectl vmferry validate -f vm.yaml" in shown.stdout
    assert "Usage: kubectl vmferry validate" in shown.stdout
    wrong = subprocess.run([str(plugin), "nonsense"], stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert "kubectl vmferry --help" in wrong.stderr
