"""Image transfers as the engine sees them: phases, locks, order of calls, time-outs."""

import http.client
import os
import ssl
import time
import urllib.parse

import pytest

from bed import MIB, Data, fault, make_certificates


def calls(engine, transfer_id):
    each = next(t for t in engine.control("/state")["transfers"] if t["id"] == transfer_id)
    return [(c["call"], c["ok"]) for c in each["calls"]]


def phases(engine, transfer_id):
    return next(t["phases"] for t in engine.control("/state")["transfers"]
                if t["id"] == transfer_id)


def test_a_download_from_beginning_to_end(start, imageio_kind):
    engine = start(imageio_kind)
    disk = engine.disk("cold")
    reply = engine.ask_transfer(disk)
    made = reply.xml()
    assert reply.status == 201 and made.findtext("phase") == "initializing"
    assert made.find("transfer_url") is None and made.find("disk").get("id") == disk
    assert engine.get("/disks/" + disk).findtext("status") == "locked"
    ready = engine.await_phase(made.get("id"), "transferring")
    ticket = urllib.parse.urlsplit(ready.findtext("transfer_url")).path
    assert ticket.startswith("/images/") and ticket != "/images/" + made.get("id")
    assert ready.findtext("proxy_url").endswith(ticket)
    data = Data(engine, ready.findtext("transfer_url"))
    assert data.ask("GET", Range="bytes=0-%d" % (MIB - 1)).status == 206
    data.close()
    reply = engine.act(made.get("id"), "finalize")
    assert reply.status == 200 and reply.xml().findtext("status") == "complete"
    done = engine.await_phase(made.get("id"), "finished_success")
    assert done.find("transfer_url") is None
    engine.await_disk(disk, "ok")
    assert phases(engine, made.get("id")) == ["initializing", "transferring",
                                              "finalizing_success", "finished_success"]
    assert calls(engine, made.get("id")) == [("created", True), ("finalize", True)]


def test_a_disk_is_locked_while_a_transfer_lives(engine):
    disk = engine.disk("cold")
    made = engine.transfer(disk)
    reply = engine.ask_transfer(disk)
    assert reply.status == 409
    assert "Disk is locked" in fault(reply) and "disks are locked" in fault(reply)
    engine.act(made.get("id"), "finalize")
    engine.await_disk(disk, "ok")
    assert engine.ask_transfer(disk).status == 201


def test_the_disk_stays_locked_a_while_after_the_end_row_9_11(start):
    engine = start(engine={"unlock_seconds": 0.5})
    disk = engine.disk("cold")
    made = engine.transfer(disk)
    engine.act(made.get("id"), "finalize")
    engine.await_phase(made.get("id"), "finished_success")
    assert engine.ask_transfer(disk).status == 409
    engine.await_disk(disk, "ok")


def test_without_a_direction_it_is_an_upload_and_cancelling_spoils_the_disk(engine):
    disk = engine.disk("cold")
    made = engine.ask_transfer(disk, direction="").xml()
    assert made.findtext("direction") == "upload"
    engine.await_phase(made.get("id"), "transferring")
    assert engine.act(made.get("id"), "cancel").status == 200
    engine.await_disk(disk, "illegal")


def test_without_a_format_it_is_that_of_the_disk(engine):
    assert engine.ask_transfer(engine.disk("chain"), "").xml().findtext("format") == "cow"
    assert engine.ask_transfer(engine.disk("cold"), "").xml().findtext("format") == "raw"


def test_a_cold_download_needs_the_machine_down(engine):
    reply = engine.ask_transfer(engine.disk("boot"))
    assert reply.status == 409 and "Cannot transfer Virtual Disk" in fault(reply)
    engine.control("/vm", id="web one", status="down")
    assert engine.ask_transfer(engine.disk("boot")).status == 201


@pytest.mark.parametrize("alias, words", [("lun", "lun"), ("broken", "ILLEGAL")])
def test_disks_that_cannot_be_transferred(engine, alias, words):
    reply = engine.ask_transfer(engine.disk(alias))
    assert reply.status == 409 and words in fault(reply)


def test_a_machine_with_illegal_images_is_refused(start):
    engine = start(vms=[{"name": "a", "has_illegal_images": True,
                         "disks": [{"alias": "cold", "image": "raw.img"}]}])
    assert engine.get("/vms")[0].findtext("has_illegal_images") == "true"
    assert engine.ask_transfer(engine.disk("cold")).status == 409


@pytest.mark.parametrize("body, status", [
    ("<image_transfer><direction>download</direction></image_transfer>", 400),
    ('<image_transfer><disk id="none"/></image_transfer>', 409),
    ('<image_transfer><disk id="%s"/><direction>sideways</direction></image_transfer>', 400),
    ('<image_transfer><disk id="%s"/><format>vmdk</format></image_transfer>', 400),
    ('<image_transfer><disk id="%s"/><inactivity_timeout>x</inactivity_timeout>'
     '</image_transfer>', 400),
    ('<image_transfer><disk id="%s"/><host id="none"/></image_transfer>', 409),
    ('<image_transfer><image id="%s"/></image_transfer>', 201),
    ('<image_transfer><disk id="%s"/><news>1</news></image_transfer>', 201)])
def test_requests_are_checked(engine, body, status):
    body = body.replace("%s", engine.disk("cold"))
    assert engine.api("POST", "/imagetransfers", body).status == status


def test_a_request_may_be_json(engine):
    body = '{"disk": {"id": "%s"}, "direction": "download", "format": "raw"}' % engine.disk("cold")
    tree = engine.api("POST", "/imagetransfers", body, json_form=True).json()
    assert tree["direction"] == "download" and tree["active"] == "false"


def test_a_snapshot_of_a_disk_is_transferred_by_its_own_id(start, imageio_kind):
    engine = start(imageio_kind)
    domain = engine.get("/storagedomains")[0].get("href")
    old = next(s for s in engine.get(domain + "/disksnapshots")
               if s.find("disk").get("id") == engine.disk("chain"))
    body = ('<image_transfer><snapshot id="%s"/><direction>download</direction>'
            "<format>raw</format></image_transfer>" % old.get("id"))
    made = engine.api("POST", "/imagetransfers", body).xml()
    ready = engine.await_phase(made.get("id"), "transferring")
    assert ready.find("snapshot").get("id") == old.get("id")
    data = Data(engine, ready.findtext("transfer_url"))
    assert data.ask("GET", Range="bytes=%d-%d" % (MIB, MIB + 3)).body == b"\x07" * 4
    data.close()


@pytest.mark.parametrize("phase, allowed", [
    ("initializing", {"extend", "cancel"}),
    ("transferring", {"extend", "pause", "finalize", "cancel"}),
    ("paused_user", {"extend", "resume", "cancel"}),
    ("paused_system", {"extend", "resume", "cancel"}),
    ("finalizing_success", set()), ("finished_success", set()), ("finished_failure", set())])
def test_order_of_calls(start, phase, allowed):
    slow = {"initializing_seconds": 30 if phase == "initializing" else 0.1,
            "finalizing_seconds": 30}
    engine = start(engine=slow)
    disk = engine.disk("cold")
    for action in ("extend", "pause", "resume", "finalize", "cancel"):
        made = engine.ask_transfer(disk).xml().get("id")
        if phase != "initializing":
            engine.await_phase(made, "transferring")
        if phase not in ("initializing", "transferring"):
            engine.control("/transfer", id=made, phase=phase)
        reply = engine.act(made, action)
        assert (reply.status == 200) == (action in allowed), (action, reply.body)
        if reply.status != 200:
            assert reply.status == 409 and phase in fault(reply)
        engine.control("/transfer", id=made, phase="finished_success")
        engine.await_disk(disk, "ok")


def test_pause_closes_the_data_plane_and_resume_gives_another_address(start, imageio_kind):
    engine = start(imageio_kind, engine={"initializing_seconds": 0.5})
    ready = engine.transfer(engine.disk("cold"))
    engine.act(ready.get("id"), "pause")
    assert engine.await_phase(ready.get("id"), "paused_user").find("transfer_url") is None
    assert engine.act(ready.get("id"), "resume").status == 200
    assert engine.get("/imagetransfers/" + ready.get("id")).findtext("phase") == "resuming"
    again = engine.await_phase(ready.get("id"), "transferring")
    assert again.findtext("transfer_url") != ready.findtext("transfer_url")
    data = Data(engine, again.findtext("transfer_url"))
    assert data.ask("OPTIONS").status == 200
    data.close()


def test_a_cancelled_transfer_cleans_up_row_9_10(engine):
    disk = engine.disk("cold")
    ready = engine.transfer(disk)
    engine.act(ready.get("id"), "cancel")
    engine.await_phase(ready.get("id"), "finished_cleanup")
    assert phases(engine, ready.get("id"))[2:] == ["cancelled_user", "finalizing_cleanup",
                                                   "finished_cleanup"]
    engine.await_disk(disk, "ok")


@pytest.mark.parametrize("policy, end", [("cancel", "finished_cleanup"), ("pause", "paused_system"),
                                         ("legacy", "finished_cleanup"), ("", "finished_cleanup")])
def test_inactivity_applies_the_policy(start, imageio_kind, policy, end):
    engine = start(imageio_kind)
    chosen = "<timeout_policy>%s</timeout_policy>" % policy if policy else ""
    extra = "<format>raw</format><inactivity_timeout>1</inactivity_timeout>" + chosen
    ready = engine.transfer(engine.disk("cold"), extra)
    engine.await_phase(ready.get("id"), end, seconds=6)
    assert ("inactive", True) in calls(engine, ready.get("id"))


def test_requests_and_extend_keep_a_transfer_alive(start, imageio_kind):
    engine = start(imageio_kind)
    extra = "<format>raw</format><inactivity_timeout>1</inactivity_timeout>"
    ready = engine.transfer(engine.disk("cold"), extra)
    for turn in range(6):
        if turn % 2:
            engine.act(ready.get("id"), "extend")
        else:
            data = Data(engine, ready.findtext("transfer_url"))
            assert data.ask("OPTIONS").status == 200
            data.close()
        time.sleep(0.6)
    assert engine.get("/imagetransfers/" + ready.get("id")).findtext("phase") == "transferring"


def test_zero_switches_inactivity_off(engine):
    extra = "<format>raw</format><inactivity_timeout>0</inactivity_timeout>"
    ready = engine.transfer(engine.disk("cold"), extra)
    time.sleep(1.5)
    assert engine.get("/imagetransfers/" + ready.get("id")).findtext("phase") == "transferring"


def test_older_engines_forget_a_finished_transfer_row_8_10(start):
    engine = start(engine={"finished_kept_seconds": 0, "unlock_seconds": 0.3})
    disk = engine.disk("cold")
    ready = engine.transfer(disk)
    engine.act(ready.get("id"), "finalize")
    deadline = time.monotonic() + 5
    while engine.api("GET", "/imagetransfers/" + ready.get("id")).status == 200:
        assert time.monotonic() < deadline
    assert engine.act(ready.get("id"), "finalize").status == 404
    engine.await_disk(disk, "ok")


def test_a_data_plane_that_does_not_start_pauses_the_transfer(engine):
    made = engine.ask_transfer(engine.disk("empty")).xml()
    engine.await_phase(made.get("id"), "paused_system")
    assert engine.act(made.get("id"), "finalize").status == 409
    assert engine.act(made.get("id"), "cancel").status == 200


def test_a_phase_nobody_knows_can_be_shown_row_8_6(engine):
    ready = engine.transfer(engine.disk("cold"))
    engine.control("/transfer", disk="cold", phase="dreaming", reads=2)
    seen = [engine.get("/imagetransfers/" + ready.get("id")).findtext("phase") for _ in range(3)]
    assert seen == ["dreaming", "dreaming", "transferring"]


def test_a_host_name_in_the_address_can_be_one_nobody_resolves_row_8_33(start):
    engine = start(engine={"transfer_host": "host.invalid"})
    ready = engine.transfer(engine.disk("cold"))
    assert ready.findtext("transfer_url").startswith("https://host.invalid:")
    data = Data(engine, ready.findtext("proxy_url"))
    assert data.ask("OPTIONS").status == 200
    data.close()


def test_an_address_that_the_engine_does_not_name_is_the_proxys(start):
    engine = start(engine={"transfer_url": False})
    ready = engine.transfer(engine.disk("cold"))
    assert ready.find("transfer_url") is None
    data = Data(engine, ready.findtext("proxy_url"))
    assert data.ask("OPTIONS").status == 200
    data.close()


def test_a_host_of_another_authority_has_a_proxy_with_the_engines_certificate(start, imageio_kind, tmp_path):
    make_certificates(tmp_path)
    engine = start(imageio_kind, options=["--imageio-cert", str(tmp_path / "server.pem"), "--imageio-key",
                                          str(tmp_path / "server.key"), "--host-ca", str(tmp_path / "ca.pem")])
    made = engine.transfer(engine.disk("cold"))
    with pytest.raises(ssl.SSLCertVerificationError):
        Data(engine, made.findtext("transfer_url")).ask("OPTIONS")
    data = Data(engine, made.findtext("proxy_url"))
    assert b"extents" in data.ask("OPTIONS").body
    with open(os.path.join(engine.directory, "raw.img"), "rb") as file:
        disk = file.read()
    assert data.ask("GET", Range="bytes=%d-%d" % (len(disk) - 4096, len(disk) - 1)).body == disk[-4096:]
    extents = data.ask("GET", "/extents").json()
    assert any(each["zero"] for each in extents) and not all(each["zero"] for each in extents)
    data.close()
    assert engine.act(made.get("id"), "finalize").status == 200
    engine.await_phase(made.get("id"), "finished_success")


def test_a_request_that_hangs_delays_the_end(start):
    engine = start(engine={"remove_timeout": 1})
    ready = engine.transfer(engine.disk("cold"))
    data = Data(engine, ready.findtext("transfer_url"))
    data.connection.request("GET", data.path)  # and nobody reads the answer
    deadline = time.monotonic() + 2
    while engine.get("/imagetransfers/" + ready.get("id")).findtext("active") != "true":
        if time.monotonic() > deadline:
            pytest.skip("the whole image fits into the buffers of the sockets")
    engine.act(ready.get("id"), "finalize")
    time.sleep(0.5)
    assert engine.get("/imagetransfers/" + ready.get("id")).findtext("phase") == \
        "finalizing_success"
    data.close()
    engine.await_phase(ready.get("id"), "finished_success")


@pytest.mark.parametrize("rule, status, length, content_range", [
    ({"kind": "status", "status": 503}, 503, None, None),
    ({"kind": "wrong_content_range"}, 206, MIB, "bytes 512-"),
    ({"kind": "ok_instead_of_partial"}, 200, MIB, None)])
def test_the_builtin_imageio_misbehaves_on_demand(engine, rule, status, length, content_range):
    data = Data(engine, engine.transfer(engine.disk("cold")).findtext("transfer_url"))
    engine.control("/imageio-fault", **rule)
    reply = data.ask("GET", Range="bytes=0-%d" % (MIB - 1))
    assert reply.status == status and (length is None or len(reply.body) == length)
    assert content_range is None or reply.headers["content-range"].startswith(content_range)
    assert data.ask("GET", Range="bytes=0-3").status == 206  # used up
    data.close()


@pytest.mark.parametrize("kind", ["short_body", "drop", "stall"])
def test_bodies_that_end_early(engine, kind):
    data = Data(engine, engine.transfer(engine.disk("cold")).findtext("transfer_url"))
    engine.control("/imageio-fault", kind=kind, after_bytes=1000, seconds=0.3)
    with pytest.raises((OSError, http.client.HTTPException)):
        data.ask("GET", Range="bytes=0-%d" % (MIB - 1))
    data.close()
    fresh = Data(engine, engine.get("/imagetransfers")[0].findtext("transfer_url"))
    assert fresh.ask("GET", Range="bytes=0-3").status == 206
    fresh.close()


def test_any_answer_of_the_builtin_imageio_can_be_replaced(engine):
    data = Data(engine, engine.transfer(engine.disk("cold")).findtext("transfer_url"))
    engine.control("/imageio-fault", kind="answer", method="OPTIONS", body={"features": []})
    assert data.ask("OPTIONS").json() == {"features": []}
    engine.control("/imageio-fault", kind="answer", path_regex="/extents$", status=404, body="no")
    reply = data.ask("GET", "/extents")
    assert reply.status == 404 and reply.body == b"no"
    engine.control("/imageio-fault", kind="delay", path_regex="/extents$", seconds=0.3)
    began = time.monotonic()
    assert data.ask("GET", "/extents").status == 200 and time.monotonic() - began >= 0.3
    data.close()


def test_the_state_tells_what_clients_asked_of_the_builtin_imageio(engine):
    url = engine.transfer(engine.disk("cold")).findtext("transfer_url")
    first, second = Data(engine, url), Data(engine, url)
    first.ask("OPTIONS")
    second.ask("GET", Range="bytes=0-3")
    first.close()
    second.close()
    seen = engine.control("/state")["transfers"][0]["data"]
    assert seen["peak_connections"] == 2 and seen["count"] == 2
    assert seen["requests"] == [{"method": "OPTIONS", "what": "image", "range": None},
                                {"method": "GET", "what": "image", "range": "bytes=0-3"}]


def test_an_unplugged_disk_of_a_running_machine_is_cold(start):
    engine = start(vms=[{"name": "a", "status": "up", "disks": [
        {"alias": "cold", "image": "raw.img", "active": False}]}])
    assert engine.ask_transfer(engine.disk("cold")).status == 201
