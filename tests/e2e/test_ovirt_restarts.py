"""An engine, its host or both are killed while a disk is copied, and come back: with all they knew, or without."""
from ovirt_world import all_closed, closings, runs_again
from scene import ovirt_vm

SLOW = "6M"


def copying(scene, **vm):
    """(host, engine) of an import whose copy is under way."""
    images = [scene.images["dense"]]
    host = scene.ovirt_host()
    engine = scene.engine(ovirt_vm("mail", images, **vm), apart=host)
    scene.base(engine)
    scene.ferry.up(1, SLOW)
    scene.ovirt_import("mail")
    scene.ferry.wait_for(lambda: scene.ferry.moved("mail") > 6 << 20, 60, "the copy")
    return host, engine


def goes_on(scene, before=None):
    """The copy gets further than `before` (now), and never back behind it: nothing is read from the start."""
    if before is None:
        before = scene.ferry.moved("mail")

    def further():
        now = scene.ferry.moved("mail")
        assert now >= before, "the copy began anew"
        return now > before + (2 << 20)
    scene.ferry.wait_for(further, 60, "the copy to go on")


def ended(scene, engine, timeout=150):
    """The import succeeds with the disk's content; the disks that it has then."""
    scene.ferry.run("limit", "off")
    scene.ferry.wait_succeeded("mail", timeout)
    disks = scene.ferry.check_disks("mail", [scene.images["dense"]])
    all_closed(scene, engine)
    return disks


def test_an_engine_killed_during_the_copy_and_started_again_finds_its_transfer_finalised_once(scene):
    _, engine = copying(scene)
    engine.kill()
    goes_on(scene)  # the host needs no engine
    engine.start_again()
    assert [each["phase"] for each in engine.state()["transfers"]] == ["transferring"], "it knows its transfers"
    ended(scene, engine)
    transfer, = engine.state()["transfers"]
    assert [call["call"] for call in closings(transfer)] == ["finalize"], transfer["calls"]
    assert engine.state()["sessions"]["opened"] >= 1, "the old session was gone"


def test_an_engine_that_is_dead_at_the_end_of_the_copy_is_waited_for(scene):
    _, engine = copying(scene)
    engine.kill()
    scene.ferry.run("limit", "off")
    scene.ferry.wait_for(lambda: [each["state"].lower() for each in scene.ferry.transfers("mail")] == ["succeeded"], 60,
                         "the end of the copy")
    assert "Succeeded" not in scene.ferry.conditions("mail")
    engine.start_again()
    ended(scene, engine)
    transfer, = engine.state()["transfers"]
    assert transfer["finalized"]


def test_engine_and_host_killed_together_come_back_without_tickets_and_the_copy_goes_on(scene):
    host, engine = copying(scene)
    engine.kill()
    host.kill()
    before = scene.ferry.moved("mail")
    host.start_again()
    engine.start_again()
    goes_on(scene, before)
    disk, = ended(scene, engine)
    transfers = engine.state()["transfers"]
    assert len(transfers) > 1 or any(call["call"] == "resume" and call["ok"] for call in transfers[0]["calls"]), transfers
    assert disk["digest"].startswith("sha256:")


def test_an_engine_that_forgot_its_transfers_gives_a_new_one(scene):
    host, engine = copying(scene)
    engine.kill()
    host.kill()
    engine.database.unlink()  # restored from an older backup
    before = scene.ferry.moved("mail")
    host.start_again()
    engine.start_again()
    assert engine.state()["transfers"] == []
    goes_on(scene, before)
    ended(scene, engine)
    transfer, = engine.state()["transfers"]
    assert transfer["finalized"]


def test_an_engine_that_forgot_its_transfers_while_the_host_goes_on_has_nothing_left_to_finalise(scene):
    _, engine = copying(scene)
    engine.kill()
    engine.database.unlink()
    engine.start_again()
    goes_on(scene)  # with the ticket that the host still has
    ended(scene, engine)
    assert all(each["finalized"] for each in engine.state()["transfers"])


def test_an_import_deleted_while_its_engine_is_dead_is_undone_when_it_is_back(scene):
    _, engine = copying(scene, status="up")
    engine.kill()
    scene.ferry.delete("import", "mail", "--no-wait")
    scene.ferry.wait_for(lambda: scene.ferry.transfers("mail") == [], 60, "the end of the copy")
    assert scene.ferry.get("imports", "mail") is not None, "its transfer is open still, and its source is down"
    engine.start_again()
    scene.ferry.wait_for(lambda: scene.ferry.get("imports", "mail") is None, 90, "the import's end")
    all_closed(scene, engine)
    runs_again(scene, engine, "mail")


def test_an_imageio_daemon_killed_during_the_copy_is_waited_for_and_the_copy_is_resumed(scene):
    host, engine = copying(scene)
    host.kill()
    before = scene.ferry.moved("mail")
    host.start_again()
    goes_on(scene, before)
    disk, = ended(scene, engine)
    assert disk["digest"].startswith("sha256:")
    transfers = engine.state()["transfers"]
    assert len(transfers) > 1 or any(call["call"] == "resume" and call["ok"] for call in transfers[0]["calls"]), transfers
