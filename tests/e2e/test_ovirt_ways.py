"""Ways to the data of an oVirt VM (host, proxy, authorities), what becomes of its attributes, and what is found at once."""
import json
import re

import bed
import peers
from ovirt_world import all_closed, events, failed, is_open, requests, runs_again
from scene import ovirt_vm

TICKET = re.compile("/images/[0-9a-f]")


def imported(scene, engine, images, name="mail"):
    scene.base(engine)
    scene.ferry.up(1)
    scene.ovirt_import(name)
    scene.ferry.wait_succeeded(name)
    disks = scene.ferry.check_disks(name, images)
    all_closed(scene, engine)
    return disks


def test_src33_a_host_that_is_not_trusted_is_read_through_a_proxy_that_is_and_it_is_said(scene):
    images = [scene.images["odd-size"], scene.images["sparse-data"]]
    engine = scene.engine(ovirt_vm("mail", images), host=peers.make_pki(scene.directory / "host-pki", "host"))
    for disk in imported(scene, engine, images):
        assert "proxy" in disk["sourcePath"] and "certificate is not trusted" in disk["sourcePath"], disk
    said = events(scene)
    assert "SourceDetour" in said and "certificate is not trusted" in said
    assert not TICKET.search(said + json.dumps(scene.ferry.disks("mail"))), "a ticket is a secret"


def test_a_host_that_is_not_trusted_fails_the_import_where_there_is_no_proxy(scene):
    engine = scene.engine(ovirt_vm("mail", [scene.images["odd-size"]], status="up"), engine={"proxy_url": False},
                          host=peers.make_pki(scene.directory / "host-pki", "host"))
    scene.base(engine)
    scene.ferry.up(1)
    scene.ovirt_import("mail")
    condition = failed(scene, engine, "mail", "VMF-SRC-TLS", "mail_Disk1", "certificate of the oVirt host")
    assert not TICKET.search(condition["message"]), condition
    runs_again(scene, engine, "mail")


def test_src34_a_host_of_the_engines_own_authority_is_read_directly(scene):
    images = [scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("mail", images), host=peers.make_pki(scene.directory / "host-pki", "host"), told=True)
    disk, = imported(scene, engine, images)
    assert disk["sourcePath"] == "imageio over HTTPS" and "SourceDetour" not in events(scene)


def test_a_host_that_the_engine_does_not_name_is_read_through_the_proxy_and_it_is_said(scene):
    images = [scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("mail", images), engine={"transfer_url": False})
    disk, = imported(scene, engine, images)
    assert "through the engine's proxy" in disk["sourcePath"], disk


def test_src32_terminated_during_the_copy_and_started_again_the_transfer_is_closed_once(scene):
    images = [scene.images["dense"]]
    engine = scene.engine(ovirt_vm("mail", images, status="up"))
    scene.base(engine)
    scene.ferry.up(1, "6M")
    scene.ovirt_import("mail")
    scene.ferry.wait_for(lambda: scene.ferry.moved("mail") > 24 << 20, 60, "the copy")
    scene.ferry.down()  # SIGTERM to coordinator and agent
    transfer, = engine.state()["transfers"]
    assert is_open(transfer), "it is kept, and so the disk from changing, for whoever goes on"
    assert engine.state()["sessions"]["alive"] == 0
    scene.ferry.up(1)
    scene.ferry.wait_succeeded("mail")
    disk, = scene.ferry.check_disks("mail", images)
    assert disk["resumedBytes"] > 0, disk
    assert len(engine.state()["transfers"]) == 1
    all_closed(scene, engine)


def odd_vm(name, images):
    """A machine with something to say about most rules."""
    vm = ovirt_vm(name, images, usb={"enabled": True}, watchdogs=[{"model": "diag288", "action": "reset"}],
                  custom_properties={"custom_property": [{"name": "sap_agent", "value": "true"}]},
                  host_devices=[{"name": "pci_0000_3b_00_0", "capability": "pci"}],
                  time_zone={"name": "America/New_York"}, snapshots=[{"description": "before the upgrade"}],
                  nics=[{"name": "nic1", "interface": "spapr_vlan"}, {"name": "nic2", "profile": None}])
    vm["disks"][0]["interface"] = "ide"
    return vm


def findings_of(scene, name):
    return ((scene.ferry.get("imports", name) or {}).get("status") or {}).get("findings") or []


def test_everything_is_found_at_once_with_rule_level_and_value_and_levels_are_configurable(scene):
    images = [scene.images["odd-size"]]
    engine = scene.engine(odd_vm("odd", images))
    scene.base(engine)
    scene.ferry.up(1)
    scene.ovirt_import("odd")
    rules = scene.ferry.wait_condition("odd", "MappingRulesVerified", "False", "MappingRulesVerificationFailed")
    expected = {
        "vm.usb": ("block", "USB"), "vm.watchdogs": ("block", "diag288"), "nic.interface": ("block", "spapr_vlan"),
        "disk_attachment.interface": ("block", "ide"), "vm.custom_properties": ("warn", "sap_agent=true"),
        "vm.host_devices": ("warn", "pci_0000_3b_00_0"), "vm.timezone": ("warn", "America/New_York"),
        "vm.snapshots": ("warn", "1 snapshots"), "nic.vnic_profile": ("warn", "nic2"),
        "vm.storage_error_resume_behaviour": ("log", "auto_resume"), "vm.memory_policy.guaranteed": ("log", str(1 << 30)),
        "vm.migration_downtime": ("log", "-1"), "vm.migration": ("log", "migration")}
    found = {each["rule"]: each for each in findings_of(scene, "odd")}
    for rule, (level, value) in expected.items():
        assert rule in found and found[rule]["level"].lower() == level and value in found[rule]["text"], (rule, found)
        if level != "log":
            assert value in rules["message"], (rule, rules["message"])
        if level == "block":
            assert found[rule]["remedy"], rule
    assert "ImportBlocked" in events(scene)
    assert engine.state()["transfers"] == [] and "Succeeded" not in scene.ferry.conditions("odd")

    # Whoever takes the consequences lowers them; what the import cannot do without stays.
    lowered = {f"severity.{rule}": "warn" for rule, (level, _) in expected.items() if level == "block"}
    scene.ferry.apply({"apiVersion": "v1", "kind": "ConfigMap",
                       "metadata": {"name": "vm-import-controller-config", "namespace": "vmferry"},
                       "data": dict(lowered, **{"severity.vm.snapshots": "block"})})
    rules = scene.ferry.wait_for(
        lambda: next((each for each in [scene.ferry.conditions("odd")["MappingRulesVerified"]]
                      if "diag288" in each["message"] and each["message"].startswith("the VM has 1 snapshots")), None),
        30, "the configured levels")
    assert rules["status"] == "False"
    levels = {each["rule"]: each["level"].lower() for each in findings_of(scene, "odd")}
    assert levels["vm.usb"] == "warn" and levels["vm.snapshots"] == "block", levels
    scene.ferry.apply({"apiVersion": "v1", "kind": "ConfigMap",
                       "metadata": {"name": "vm-import-controller-config", "namespace": "vmferry"},
                       "data": dict(lowered, **{"severity.vm.snapshots": "log"})})
    scene.ferry.wait_succeeded("odd")
    scene.ferry.check_disks("odd", images)
    all_closed(scene, engine)


def test_every_attribute_of_a_machine_arrives_in_the_new_one(scene):
    images = [scene.images["bootable"], scene.images["odd-size"]]
    vm = ovirt_vm(
        "full", images, status="up", fqdn="full.lab.example", type="high_performance", memory=2 << 30, tags=["web tier", "prod"],
        cpu={"architecture": "x86_64", "topology": {"sockets": 2, "cores": 2, "threads": 1},
             "cpu_tune": {"vcpu_pins": {"vcpu_pin": [{"vcpu": i, "cpu_set": str(i)} for i in range(4)]}}},
        custom_cpu_model="Haswell-noTSX", bios_type="q35_secure_boot", instance_type="Large",
        custom_properties={"custom_property": [{"name": "hugepages", "value": "2048"}]},
        custom_emulated_machine="pc-q35-rhel8.6.0", watchdogs=[{"model": "i6300esb", "action": "poweroff"}],
        high_availability={"enabled": True, "priority": 50}, placement_policy={"affinity": "pinned"},
        serial_number={"policy": "custom", "value": "SN-1"}, time_zone={"name": "Eastern Standard Time"},
        comment="ask the mail team", description="mail", soundcard_enabled=True, io={"threads": 1},
        os={"boot": {"devices": {"device": ["network", "hd"]}}}, graphics_consoles=["vnc"],
        nics=[{"name": "nic1", "mac": "56:6f:00:00:00:01", "interface": "e1000", "linked": False},
              {"name": "nic2", "plugged": False}])
    vm["disks"][0]["interface"] = "virtio"
    vm["disks"][1].update(interface="sata", read_only=True)
    engine = scene.engine(vm, instance_types=[{"name": "Large"}])
    scene.base(engine)
    scene.ferry.up(1)
    scene.ovirt_import("full", startVm=True)
    scene.ferry.wait_succeeded("full")
    scene.ferry.check_disks("full", images)
    made = scene.ferry.get("vms", "full")
    labels, notes = made["metadata"]["labels"], made["metadata"]["annotations"]
    assert (labels["origin"], labels["instanceType"], labels["tags"]) == ("ovirt", "Large", "web_tier.prod"), labels
    assert (notes["comment"], notes["description"], notes["sso"]) == ("ask the mail team", "mail", "guest_agent"), notes
    assert made["spec"]["runStrategy"] == "Always", "highly available, and to be started"
    spec = made["spec"]["template"]["spec"]
    domain, devices = spec["domain"], spec["domain"]["devices"]
    assert (spec["hostname"], spec["evictionStrategy"]) == ("full-lab-example", "None")
    assert domain["cpu"] == {"sockets": 2, "cores": 2, "threads": 1, "model": "Haswell-noTSX", "dedicatedCpuPlacement": True}
    assert domain["memory"] == {"guest": "2Gi", "hugepages": {"pageSize": "2Mi"}}
    assert domain["resources"]["requests"]["memory"] == domain["resources"]["limits"]["memory"] == "2Gi"
    assert domain["firmware"]["bootloader"] == {"efi": {"secureBoot": True}} and domain["features"]["smm"]["enabled"] is True
    assert domain["firmware"]["serial"] == "SN-1" and domain["firmware"]["uuid"] == engine.vm("full")["id"]
    assert domain["machine"]["type"] == "pc-q35-rhel8.6.0"
    assert domain["clock"]["timezone"] == "America/New_York" and domain["ioThreadsPolicy"] == "auto"
    assert devices["watchdog"]["i6300esb"]["action"] == "poweroff" and "rng" in devices
    assert devices["sound"]["model"] == "ich9" and devices["autoattachGraphicsDevice"] is True
    assert devices["autoattachSerialConsole"] is True and devices["inputs"][0]["bus"] == "virtio"
    nic, = devices["interfaces"]
    assert (nic["model"], nic["macAddress"], nic["bootOrder"]) == ("e1000", "56:6f:00:00:00:01", 1) and "masquerade" in nic
    assert nic["state"] == "down", "its cable was out"
    first, second = devices["disks"]
    assert (first["disk"], first["bootOrder"]) == ({"bus": "virtio"}, 2)
    assert second["disk"] == {"bus": "sata", "readonly": True} and "bootOrder" not in second
    assert engine.power("full") == "down"
    all_closed(scene, engine)


def test_a_listing_of_an_engine_tells_what_an_import_can_name(scene):
    images = [scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("mail", images), clusters=["Default", "Other"], storage_domains=["data", "fast"],
                          networks=["ovirtmgmt", {"name": "blue", "vnic_profiles": ["gold"]}])
    scene.base(engine)

    def names(kind):
        listed = json.loads(scene.ferry.run("inventory", kind, "--secret", "source", "-o", "json"))
        return {row["name"] for row in listed["items"]}
    assert names("vms") == {"mail"} and names("disks") == {"mail_Disk1"}
    assert names("clusters") == {"Default", "Other"} and names("datastores") == {"data", "fast"}
    assert names("networks") >= {"ovirtmgmt", "blue"} and "blue/gold" in names("vnicprofiles")
    assert engine.state()["sessions"]["alive"] == 0
    assert requests(engine, "POST", "/imagetransfers") == []
