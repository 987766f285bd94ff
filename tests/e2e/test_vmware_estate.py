"""VMware as administrators have it: data centres, pools, vApps, lone hosts, every kind of hardware and disk."""
import json
import shutil

import pytest

import bed
from scene import VMWARE_MAPPINGS, vmware_vm
from test_kill import under_way


def secret_file(scene, vcenter):
    path = scene.directory / "secret.yaml"
    path.write_text(bed.documents(bed.secret("source", "vmware", vcenter.secret())))
    return path


def inventory(scene, kind, secret, *options):
    return json.loads(scene.ferry.run("inventory", kind, "--secret", secret, "-o", "json", *options))["items"]


def nothing_left(scene, vcenter):
    """No lease, and no session once VMFerry is down."""
    assert vcenter.state()["leases"]["live"] == [], vcenter.state()["leases"]
    scene.ferry.down()
    state = vcenter.state()
    assert state["sessions"] == 0 and state["leases"]["live"] == [], state


def test_vms_of_two_data_centres_pools_and_vapps_are_listed_and_imported_by_path(scene):
    small, other = scene.images["odd-size"], scene.images["efi"]
    vcenter = scene.vcenter(
        vmware_vm("web", [small], folder="prod/blue"),
        vmware_vm("web", [other], folder="prod/blue", datacenter="Site B/DC (2)"),
        vmware_vm("boxed", [small], pool="gold/silver", app="shop"),
        others=[{"datacenter": "Site B/DC (2)", "datastore": "LocalDS_0"}])
    secret = secret_file(scene, vcenter)
    boxed = "DC0/host/DC0_C0/Resources/gold/silver/shop/boxed"
    vms = inventory(scene, "vms", secret)
    assert [each["path"] for each in vms] == [boxed, *sorted(each["path"] for each in vms if each["name"] == "web")]
    assert {each["path"] for each in vms} == {"DC0/vm/prod/blue/web", "Site B/DC (2)/vm/prod/blue/web", boxed}
    table = scene.ferry.run("inventory", "vms", "--secret", secret, "--name", "web")
    assert "Site B/DC (2)/vm/prod/blue/web" in table and "boxed" not in table
    assert len(inventory(scene, "datastores", secret)) == 2
    assert {each["datacenter"] for each in inventory(scene, "networks", secret)} == {"DC0", "Site B/DC (2)"}
    assert {each["vmPath"] for each in inventory(scene, "disks", secret)} == {each["path"] for each in vms}

    scene.base(vcenter)
    scene.ferry.up(agents=2)
    for name, path, images in (("here", "DC0/vm/prod/blue/web", [small]), ("there", "Site B/DC (2)/vm/prod/blue/web", [other]),
                               ("app", boxed, [small])):
        scene.vmware_import(name, {"name": path}, targetVmName=name)
        scene.ferry.wait_succeeded(name)
        scene.ferry.check_disks(name, images)
    nothing_left(scene, vcenter)


def test_a_lone_host_tells_its_inventory(scene):
    host = scene.vcenter(vmware_vm("lone", [scene.images["odd-size"]]), host=True)
    secret = secret_file(scene, host)
    assert [each["path"] for each in inventory(scene, "vms", secret)] == ["ha-datacenter/vm/lone"]
    assert [each["datastore"] for each in inventory(scene, "disks", secret)] == ["LocalDS_0"]
    assert "standard" in {each["kind"] for each in inventory(scene, "networks", secret)}
    assert [each["path"] for each in inventory(scene, "datastores", secret)] == ["ha-datacenter/datastore/LocalDS_0"]
    assert host.state()["sessions"] == 0


def test_the_whole_hardware_of_a_vm_is_in_the_target(scene):
    images = [scene.images["efi"], scene.images["odd-size"], scene.images["bootable"]]
    vm = vmware_vm("full", images, guest_id="rhel8_64Guest", cpus=8, cores_per_socket=4, memory_mb=3072, firmware="efi",
                   secure_boot=True, host_name="WEB1.lab.example", annotation="the books",
                   boot_order=["nic:1", "disk:1", "cdrom"], extra={"config.nestedHVEnabled": "true"},
                   nics=[{"type": "vmxnet3", "network": "VM Network", "mac": "00:50:56:00:00:01"},
                         {"type": "e1000e", "network": "DC0_DVPG0", "mac": "00:50:56:00:00:02"},
                         {"type": "pcnet32", "network": "segment", "mac": "00:50:56:00:00:03", "connected": False}])
    for disk, (label, controller) in zip(vm["disks"], (("System", "pvscsi"), ("Boot", "nvme"), ("Old", "ide"))):
        disk.update(label=label, controller=controller)
    vcenter = scene.vcenter(vm, opaque=[{"name": "segment", "id": "segment-77"}], utc_offset_seconds=7200)
    scene.base(vcenter)
    scene.ferry.up(agents=2)
    mappings = dict(VMWARE_MAPPINGS, networkMappings=[
        {"source": {"name": "VM Network"}, "target": {"name": "pod"}, "type": "pod"},
        {"source": {"name": "DC0_DVPG0"}, "target": {"name": "blue", "namespace": "default"}, "type": "multus"},
        {"source": {"id": "segment-77"}, "target": {"name": "nsx"}, "type": "multus"}])
    scene.vmware_import("full", mappings=mappings)
    scene.ferry.wait_succeeded("full")

    made = scene.ferry.get("vms", "full")
    spec = made["spec"]["template"]["spec"]
    domain = spec["domain"]
    known = vcenter.vm("full")
    assert made["metadata"]["annotations"]["vmware-description"] == "the books"
    assert spec["hostname"] == "web1"
    assert (domain["cpu"]["cores"], domain["cpu"]["sockets"]) == (4, 2)
    assert domain["cpu"]["features"] == [{"name": name, "policy": "optional"} for name in ("vmx", "svm")]
    assert "vmware.vm.nested" in {each["rule"] for each in scene.ferry.get("imports", "full")["status"]["findings"]}
    assert domain["memory"]["guest"] in ("3Gi", "3072Mi")
    assert domain["firmware"]["bootloader"] == {"efi": {"secureBoot": True}}
    assert domain["features"]["smm"]["enabled"] is True
    assert (domain["firmware"]["uuid"], domain["firmware"]["serial"]) == (known["uuid"], known["instance_uuid"])
    assert domain["machine"]["type"] == "q35"
    assert "utc" in domain["clock"] and "offsetSeconds" not in domain["clock"]["utc"], "Linux keeps UTC"
    keys = {disk["label"]: disk["key"] for disk in known["disks"]}
    disks = [(disk["name"].rsplit("-", 1)[1], disk["disk"]["bus"], disk.get("bootOrder")) for disk in domain["devices"]["disks"]]
    assert {key for key, _, _ in disks} == {str(key) for key in keys.values()}
    assert [key for key, _, order in disks if order] == [str(keys["Boot"])]
    assert {bus for _, bus, _ in disks} == {"virtio"}
    assert [volume["name"] for volume in spec["volumes"]] == [disk["name"] for disk in domain["devices"]["disks"]]
    nics = domain["devices"]["interfaces"]
    assert [nic["macAddress"] for nic in nics] == ["00:50:56:00:00:01", "00:50:56:00:00:02", "00:50:56:00:00:03"]
    assert "masquerade" in nics[0] and "bridge" in nics[1] and "bridge" in nics[2]
    assert [nic.get("state") for nic in nics] == [None, None, "down"]
    assert [nic.get("bootOrder") for nic in nics] == [None, 1, None]
    assert [network.get("multus", {}).get("networkName") for network in spec["networks"]] == [None, "default/blue", "nsx"]
    assert len({nic["name"] for nic in nics}) == 3
    nothing_left(scene, vcenter)


def test_disks_of_every_kind_are_copied_in_their_own_way(scene):
    images = [scene.images[name] for name in ("odd-size", "efi", "sparse-data", "odd-size", "bootable")]
    vm = vmware_vm("mixed", images, power="on")
    kinds = [{"mode": "independent_persistent"}, {"backing": "rdm-virtual"}, {"backing": "split"},
             {"mode": "independent_nonpersistent"}, {"backing": "sesparse", "current": str(images[4]), "image": ""}]
    for disk, kind in zip(vm["disks"], kinds):
        disk.update(kind)
    vcenter = scene.vcenter(vm)
    scene.base(vcenter)
    scene.ferry.up(agents=2)
    scene.vmware_import("mixed")
    scene.ferry.wait_succeeded("mixed")
    paths = [disk["sourcePath"] for disk in scene.ferry.check_disks("mixed", images)]
    for path, words in zip(paths, ("HTTPS ranges", "not resumable", "HTTPS ranges", "HTTPS ranges", "delta of a snapshot")):
        assert words in path, paths
    leases = vcenter.state()["leases"]
    assert (leases["begun"], leases["completed"]) == (1, 1), leases
    nothing_left(scene, vcenter)


@pytest.mark.parametrize("name, change, rule", [
    ("physical", {"backing": "rdm-physical"}, "vmware.disk.rdm"),
    ("shared", {"sharing": "sharingMultiWriter"}, "vmware.disk.shared"),
    ("encrypted", {"key_id": "key-1"}, "vmware.vm.encryption")])
def test_vsrc51_disks_that_nothing_can_copy_block_with_the_reason_and_the_source_stays(scene, name, change, rule):
    vm = vmware_vm(name, [scene.images["odd-size"]], power="on")
    vm["disks"][0].update(change)
    vcenter = scene.vcenter(vm)
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import(name)

    def blocked():
        findings = (scene.ferry.get("imports", name).get("status") or {}).get("findings") or []
        return [each for each in findings if each["rule"] == rule and each["level"].lower() == "block"]
    finding = scene.ferry.wait_for(blocked, 40, rule)[0]
    assert "Hard disk 1" in json.dumps(finding), finding
    assert finding["remedy"], finding
    assert not {"ShutdownGuest", "PowerOffVM_Task"} & set(vcenter.state()["calls"])
    assert vcenter.power(name) == "on"
    assert scene.ferry.list("claims") == []
    scene.ferry.delete("import", name)
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", name) is None, 60, "the import's end")
    nothing_left(scene, vcenter)


def test_vsrc50_stopping_in_the_middle_of_an_export_leaves_no_lease_and_no_session_and_goes_on_later(scene):
    image = scene.images["dense"]
    vm = vmware_vm("big", [image], power="on")
    vm["disks"][0].update(backing="delta", current=str(image), image="")
    vcenter = scene.vcenter(vm)
    scene.base(vcenter)
    scene.ferry.up(1, "6M")
    scene.vmware_import("big")
    under_way(scene, "big", 8 << 20)
    scene.ferry.down()
    nothing_left(scene, vcenter)
    assert vcenter.power("big") == "off", "the import is not over"
    scene.ferry.up(1)
    scene.ferry.wait_succeeded("big", 120)
    scene.ferry.check_disks("big", [image])
    nothing_left(scene, vcenter)


def test_vsrc45_an_agent_whose_nbdkit_lacks_the_plugin_says_so_and_disks_are_read_over_https(scene):
    nbdkit = shutil.which("nbdkit")
    if not nbdkit:
        pytest.skip("nbdkit is not installed: apt-get install nbdkit")
    library = scene.directory / "vddk/lib64"
    library.mkdir(parents=True)
    (library / "libvixDiskLib.so.8").write_text("never loaded")
    images = [scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("web", images))
    scene.base(vcenter)
    scene.ferry.up(1, None, "--nbdkit", nbdkit, "--vddk-libdir", library.parent)
    scene.vmware_import("web")
    scene.ferry.wait_succeeded("web")
    disk, = scene.ferry.check_disks("web", images)
    assert "HTTPS ranges" in disk["sourcePath"] and "no agent has VDDK" in disk["sourcePath"], disk
    assert [each["vddk"] for each in scene.ferry.agents()] == [False]
    log = "".join(path.read_text(errors="replace") for path in (scene.ferry.home / "log").glob("agent*.log"))
    assert "VMF-SRC-NBDKIT-MISSING" in log, log[-2000:]


def test_a_guest_without_tools_has_its_power_cut_if_the_import_says_so_and_blocks_otherwise(scene):
    images = [scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("bare", images, power="on", tools="toolsNotInstalled"))
    scene.base(vcenter)
    scene.ferry.up(agents=1)
    scene.vmware_import("bare")
    blocked = scene.ferry.wait_condition("bare", "Valid", "False")
    assert "power-off-after" in json.dumps(scene.ferry.get("imports", "bare")["status"]), blocked
    assert vcenter.power("bare") == "on"
    scene.ferry.delete("import", "bare")
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", "bare") is None, 60, "the import's end")
    scene.vmware_import("cut", {"name": "bare"}, annotations={bed.PREFIX + "power-off-after": "1s"}, targetVmName="cut")
    scene.ferry.wait_succeeded("cut")
    scene.ferry.check_disks("cut", images)
    assert vcenter.power("bare") == "off"
    assert vcenter.state()["calls"]["PowerOffVM_Task"] >= 1
    nothing_left(scene, vcenter)
