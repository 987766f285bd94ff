"""An oVirt source that misbehaves while its disks are copied: healed, or failed with a reason and nothing left open."""
import json
import re
import shutil

import peers
from ovirt_world import all_closed, events, failed, runs_again
from scene import ovirt_vm

SLOW = "6M"


def copying(scene, name, images, limit=SLOW, engine=None, agents=1, **vm):
    """An import whose copy is under way; its engine."""
    made = scene.engine(ovirt_vm(name, images, **vm), imageio="builtin", **(engine or {}))
    scene.base(made)
    scene.ferry.up(agents, limit)
    scene.ovirt_import(name)
    scene.ferry.wait_for(lambda: scene.ferry.moved(name) > 6 << 20, 60, "the copy")
    return made


def healed(scene, engine, name, images):
    scene.ferry.run("limit", "off")
    scene.ferry.wait_succeeded(name, 150)
    scene.ferry.check_disks(name, images)
    all_closed(scene, engine)


def test_an_engine_that_is_away_during_the_copy_is_waited_for(scene):
    images = [scene.images["dense"]]
    engine = copying(scene, "mail", images)
    engine.control("/fault", {"path_regex": "ovirt-engine", "times": 0, "drop": "before"})
    scene.ferry.run("limit", "off")
    scene.ferry.wait_for(lambda: [each["state"].lower() for each in scene.ferry.transfers("mail")] == ["succeeded"], 60,
                         "the end of the copy")
    assert "Succeeded" not in scene.ferry.conditions("mail")
    engine.control("/clear-faults", {})
    healed(scene, engine, "mail", images)
    finalized = [each for each in engine.state()["transfers"] if each["finalized"]]
    assert len(finalized) == 1


def test_a_session_that_expires_during_the_copy_is_renewed(scene):
    images = [scene.images["dense"]]
    engine = copying(scene, "mail", images)
    engine.control("/expire-tokens", {})
    healed(scene, engine, "mail", images)
    assert engine.state()["sessions"]["opened"] >= 2


def test_src23_a_ticket_that_expires_is_extended(scene):
    images = [scene.images["dense"]]
    engine = copying(scene, "mail", images)
    engine.control("/transfer", {"disk": "mail_Disk1", "expire_ticket": True})
    healed(scene, engine, "mail", images)
    transfer, = engine.state()["transfers"]
    assert transfer["extended"]


def test_a_revoked_ticket_is_replaced_and_the_copy_goes_on(scene):
    images = [scene.images["dense"]]
    engine = copying(scene, "mail", images)
    engine.control("/transfer", {"disk": "mail_Disk1", "phase": "cancelled_system"})
    healed(scene, engine, "mail", images)
    assert len(engine.state()["transfers"]) == 2


def test_a_host_that_restarts_during_the_copy_is_waited_for(scene):
    images = [scene.images["dense"]]
    engine = copying(scene, "mail", images)
    engine.control("/restart-imageio", {})
    healed(scene, engine, "mail", images)


def test_a_host_in_maintenance_pauses_the_transfer_which_is_resumed(scene):
    images = [scene.images["dense"]]
    engine = copying(scene, "mail", images)
    engine.control("/transfer", {"disk": "mail_Disk1", "phase": "paused_system"})
    healed(scene, engine, "mail", images)
    transfer, = engine.state()["transfers"]
    assert any(call["call"] == "resume" and call["ok"] for call in transfer["calls"]), transfer["calls"]


def test_a_transfer_that_is_paused_again_and_again_is_replaced(scene):
    images = [scene.images["dense"]]
    engine = copying(scene, "mail", images)
    first = engine.state()["transfers"][0]["id"]

    def pause():
        alive = [each for each in engine.state()["transfers"] if each["alive"]]
        if alive and alive[0]["id"] == first and alive[0]["phase"] == "transferring":
            engine.control("/transfer", {"id": first, "phase": "paused_system"})
        return alive and alive[0]["id"] != first
    scene.ferry.wait_for(pause, 60, "another transfer")
    healed(scene, engine, "mail", images)


def test_a_disk_locked_by_a_backup_blocks_and_then_goes_on(scene):
    images = [scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("mail", images))
    scene.base(engine)
    engine.control("/disk", {"id": "mail_Disk1", "status": "locked"})
    scene.ferry.up(1)
    scene.ovirt_import("mail")
    rules = scene.ferry.wait_condition("mail", "MappingRulesVerified", "False")
    assert "mail_Disk1" in rules["message"] and "locked" in rules["message"], rules
    engine.control("/disk", {"id": "mail_Disk1", "status": "ok"})
    scene.ferry.wait_succeeded("mail")
    scene.ferry.check_disks("mail", images)


def test_a_disk_locked_between_plan_and_copy_is_waited_for(scene):
    images = [scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("mail", images))
    scene.base(engine)
    locked = "<fault><reason>Operation Failed</reason><detail>[Cannot transfer Virtual Disk: Disk is locked.]</detail></fault>"
    engine.control("/fault", {"path_regex": "imagetransfers$", "method": "POST", "times": 3, "status": 409, "body": locked})
    scene.ferry.up(1)
    scene.ovirt_import("mail")
    scene.ferry.wait_succeeded("mail")
    scene.ferry.check_disks("mail", images)


def test_a_vm_that_somebody_starts_during_the_copy_fails_the_import(scene):
    engine = copying(scene, "mail", [scene.images["dense"]])
    engine.control("/vm", {"id": "mail", "status": "up"})
    failed(scene, engine, "mail", "VMF-SRC-CHANGED", "started")
    assert engine.power("mail") == "up", "whoever started it needs it"


def test_a_disk_resized_during_the_copy_fails_the_import_and_the_source_runs_again(scene):
    engine = copying(scene, "mail", [scene.images["dense"]], status="up")
    engine.control("/disk", {"id": "mail_Disk1", "provisioned_size": 1 << 30})
    engine.control("/transfer", {"disk": "mail_Disk1", "phase": "cancelled_user"})
    failed(scene, engine, "mail", "VMF-SRC-CHANGED", "mail_Disk1")
    runs_again(scene, engine, "mail")


def test_a_disk_whose_image_is_missing_fails_and_is_undone(scene):
    images = [scene.images["odd-size"], scene.directory / "hollow.img"]
    shutil.copy(scene.images["odd-size"], images[1])
    # The real daemon is told of a missing image as of a broken backend, and given the usual ten attempts.
    engine = scene.engine(ovirt_vm("mail", images, status="up"), imageio="builtin")
    scene.base(engine)
    images[1].unlink()
    scene.ferry.up(1)
    scene.ovirt_import("mail")
    failed(scene, engine, "mail", "mail_Disk2", "VMF-XFER-SOURCE-READ")
    runs_again(scene, engine, "mail")


def test_a_wrong_authority_ends_the_import(scene):
    engine = scene.engine(ovirt_vm("mail", [scene.images["odd-size"]]))
    other = peers.make_pki(scene.directory / "other-pki", "engine")
    scene.base(engine, caCert=(other / "ca.pem").read_text())
    scene.ferry.up(1)
    scene.ovirt_import("mail")
    valid = scene.ferry.wait_condition("mail", "Valid", "False", "UnreachableProvider")
    assert "VMF-SRC-TLS" in valid["message"], valid
    scene.ferry.wait_condition("mail", "Succeeded", "False", "ValidationFailed")
    assert engine.state()["sessions"]["opened"] == 0, "the password went to nobody"


def test_src33_hosts_out_of_reach_are_read_through_the_proxy_and_it_is_said(scene):
    images = [scene.images["odd-size"]]
    engine = scene.engine(ovirt_vm("mail", images), engine={"transfer_host": "host.invalid"})
    scene.base(engine)
    scene.ferry.up(1)
    scene.ovirt_import("mail")
    scene.ferry.wait_succeeded("mail")
    disk, = scene.ferry.check_disks("mail", images)
    assert "proxy" in disk["sourcePath"], disk
    assert "SourceDetour" in events(scene)
    said = json.dumps(disk) + events(scene)
    assert not re.search("/images/[0-9a-f]", said), "a ticket is a secret"


def test_sparse_chains_and_cd_images_arrive_by_content(scene):
    chain = peers.make_chain(scene.directory)
    images = [chain["over"], scene.images["sparse-data"]]
    vm = ovirt_vm("mail", images, cdrom="c0ffee00-0000-4000-8000-000000000001")
    vm["disks"][0]["format"] = "cow"
    iso = {"alias": "install.iso", "image": str(scene.images["odd-size"]), "content_type": "iso",
           "id": "c0ffee00-0000-4000-8000-000000000001"}
    engine = scene.engine(vm, disks=[iso])
    scene.base(engine)
    scene.ferry.up(1)
    scene.ovirt_import("mail")
    scene.ferry.wait_succeeded("mail")
    scene.ferry.check_disks("mail", [chain["raw"], images[1], scene.images["odd-size"]])
    spec = scene.ferry.get("vms", "mail")["spec"]["template"]["spec"]
    assert [("cdrom" in disk) for disk in spec["domain"]["devices"]["disks"]] == [False, False, True]
    all_closed(scene, engine)
    for disk in scene.ferry.disks("mail"):
        assert disk["digest"].startswith("sha256:"), "the daemon's own checksum was compared"


def test_src32_deleting_the_import_during_the_copy_frees_the_disk(scene):
    engine = copying(scene, "mail", [scene.images["dense"]])
    scene.ferry.delete("import", "mail")
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", "mail") is None, 60, "the import's end")
    all_closed(scene, engine)
