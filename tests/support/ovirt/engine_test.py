"""The engine's contract: what it answers, and in which order things must be done."""

import base64
import http.client
import json
import time
import urllib.parse

import pytest

import bed
import inventory
from bed import fault


def search(engine, text, **more):
    query = urllib.parse.urlencode(dict({"search": text}, **more))
    return [vm.findtext("name") for vm in engine.get("/vms?" + query)]


# Sign-on ----------------------------------------------------------------------------------------

def test_the_token_answer_has_its_expiry_as_a_string_row_9_2(engine):
    tree = engine.sign_on().json()
    assert tree["token_type"] == "bearer" and tree["scope"] == "ovirt-app-api"
    assert tree["exp"] == "9223372036854775807"


@pytest.mark.parametrize("wrong, error", [
    ({"password": "no"}, "access_denied"), ({"username": "no"}, "access_denied"),
    ({"scope": "other"}, "invalid_scope"), ({"grant_type": "code"}, "unsupported_grant_type")])
def test_bad_credentials_are_status_400_with_an_error_row_9_3(engine, wrong, error):
    reply = engine.sign_on(**wrong)
    assert reply.status == 400 and reply.json()["error"] == error


def test_an_engine_may_answer_401_and_an_array_row_8_3(start):
    engine = start(engine={"bad_credentials_status": 401, "token_in_array": True},
                   log_in=False)
    assert engine.sign_on(password="no").status == 401
    assert "access_token" in engine.sign_on().json()[0]


def test_requests_without_a_valid_token_are_401(engine):
    for value in (None, "Bearer wrong", "Basic " + base64.b64encode(b"a:b").decode(), "Basic %%"):
        assert engine.api("GET", "/vms", Authorization=value).status == 401
    assert engine.control("/expire-tokens")["expired"] == 1
    assert engine.api("GET", "/vms").status == 401
    engine.token = engine.login()
    assert engine.api("GET", "/vms").status == 200


def test_logout_ends_the_session(engine):
    form = urllib.parse.urlencode({"scope": "ovirt-app-api", "token": engine.token})
    reply = engine.send("POST", "/ovirt-engine/services/sso-logout", form,
                        {"Content-Type": "application/x-www-form-urlencoded"})
    assert reply.status == 200
    assert engine.api("GET", "/vms").status == 401
    sessions = engine.control("/state")["sessions"]
    assert (sessions["alive"], sessions["opened"], sessions["closed"]) == (0, 1, 1)


def test_basic_works_and_a_persistent_session_goes_on_by_cookie(engine):
    basic = "Basic " + base64.b64encode(b"admin@internal:" + bed.PASSWORD.encode()).decode()
    reply = engine.api("GET", "/vms", Authorization=basic, Prefer="persistent-auth")
    cookie = reply.headers["Set-Cookie"].partition(";")[0]
    go_on = {"Authorization": None, "Cookie": cookie}
    assert engine.api("GET", "/vms", Prefer="persistent-auth", **go_on).status == 200
    assert engine.api("GET", "/vms", **go_on).status == 200  # without Prefer: the last one
    assert engine.api("GET", "/vms", **go_on).status == 401


def test_an_engine_without_sso_says_404(start):
    assert start(engine={"sso": False}, log_in=False).sign_on().status == 404


def test_the_state_holds_no_secrets(engine):
    text = json.dumps(engine.control("/state"))
    assert engine.token not in text and bed.PASSWORD not in text


# Forms ------------------------------------------------------------------------------------------

def test_the_root_names_product_and_links(engine):
    root = engine.get("")
    assert root.findtext("product_info/version/major") == "4"
    assert root.findtext("product_info/version/full_version") == "4.5.4-1.el8"
    assert "vms" in [link.get("rel") for link in root.findall("link")]


def test_xml_and_json_carry_the_same_tree_row_9_1(engine):
    path = "/vms/" + engine.vm("web one")["id"]
    xml, tree = engine.get(path), engine.api("GET", path, json_form=True).json()
    assert tree["id"] == xml.get("id") and tree["href"] == xml.get("href")
    assert tree["memory"] == xml.findtext("memory") == "1073741824"
    assert tree["delete_protected"] == "false"
    assert isinstance(tree["start_time"], int) and xml.findtext("start_time").startswith("2023-")
    assert tree["cpu"]["topology"]["sockets"] == "2"
    assert tree["high_availability"] == {"enabled": "true"}
    assert {"rel": "diskattachments", "href": path_of(engine, path) + "/diskattachments"} in \
        tree["link"]


def path_of(engine, path):
    return urllib.parse.urlsplit(engine.ready["url"]).path + path


def test_json_wraps_collections_and_an_empty_one_is_an_empty_object(engine):
    assert len(engine.api("GET", "/vms", json_form=True).json()["vm"]) == 3
    assert engine.api("GET", "/vms?search=name%3Dnone", json_form=True).json() == {}
    assert engine.get("/vms?search=name%3Dnone").tag == "vms"


def test_json_scalars_can_be_native_row_8_2(start):
    engine = start(engine={"json_scalars": "native"})
    tree = engine.api("GET", "/vms/" + engine.vm("web one")["id"], json_form=True).json()
    assert tree["memory"] == 1 << 30 and tree["delete_protected"] is False


def test_a_vlan_and_a_cdrom_file_are_attributes_row_9_13(start):
    engine = start(vms=[{"name": "a", "cdrom": "tools.iso"}])
    blue = next(n for n in engine.get("/networks") if n.findtext("name") == "blue")
    assert blue.find("vlan").get("id") == "7"
    cdrom = engine.get("/vms/%s/cdroms" % engine.vm("a")["id"])[0]
    assert cdrom.find("file").get("id") == "tools.iso"


@pytest.mark.parametrize("headers, status", [
    ({"Content_Type": None}, 415), ({"Content_Type": "text/plain"}, 415),
    ({"Accept": "text/csv"}, 406), ({"Version": "3"}, 400),
    ({"Correlation_Id": "c" * 51}, 400)])
def test_headers_are_checked(engine, headers, status):
    path = "/vms/%s/shutdown" % engine.vm("web one")["id"]
    assert engine.api("POST", path, b"<action/>", **headers).status == status


@pytest.mark.parametrize("body", ["", "<action", "<other/>", "[]", "<!DOCTYPE a><action/>"])
def test_bodies_are_checked(engine, body):
    path = "/vms/%s/shutdown" % engine.vm("web one")["id"]
    assert engine.api("POST", path, body).status == 400


def test_inventory_is_compressed_for_who_asks(engine):
    reply = engine.api("GET", "/vms", Accept_Encoding="gzip")
    assert reply.headers["Content-Encoding"] == "gzip" and reply.body[:2] == b"\x1f\x8b"


def test_the_certificate_is_handed_out(engine):
    path = ("/ovirt-engine/services/pki-resource?resource=ca-certificate&format=X509-PEM-CA")
    assert engine.send("GET", path).body.startswith(b"-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize("path, status", [
    ("/vms/none", 404), ("/disks/none", 404), ("/nothing", 404), ("/vms/none/nics", 404),
    ("/imagetransfers/none", 404), ("/clusters/none", 404)])
def test_what_is_not_there_is_404(engine, path, status):
    reply = engine.api("GET", path)
    assert reply.status == status
    assert path == "/nothing" or "Entity not found" in fault(reply)


def test_every_link_leads_somewhere(engine):
    seen, todo = set(), [engine.get("")]
    while todo:
        for node in todo.pop().iter():
            href = node.get("href", "")
            if not href or href in seen or "{" in href or href.endswith(
                    ("/start", "/stop", "/shutdown")) or "/cpuprofiles/" in href:
                continue
            seen.add(href)
            todo.append(engine.get(href))
    assert len(seen) > 60


# Search and follow ------------------------------------------------------------------------------

@pytest.mark.parametrize("text, found", [
    ('name="web one"', ["web one"]), ("name=web*", ["web one"]), ("name=twin", ["twin", "twin"]),
    ('name="twin" and cluster="Other"', ["twin"]), ("name=Twin", []), ("status=UP", ["web one"]),
    ("name=twin or status=up sortby name desc", ["web one", "twin", "twin"]),
    ("name!=twin", ["web one"])])
def test_search(engine, text, found):
    assert search(engine, text, case_sensitive="true") == found


def test_search_pages_and_ignores_case_on_request(engine):
    assert search(engine, "name=TWIN", case_sensitive="false") == ["twin", "twin"]
    assert search(engine, "sortby name page 1", max="2") == ["twin", "twin"]
    assert search(engine, "sortby name page 2", max="2") == ["web one"]
    assert search(engine, "sortby name page 3", max="2") == []


@pytest.mark.parametrize("text", ["name", "name=", "colour=red", 'name="open', "page x"])
def test_a_query_that_cannot_be_read_is_400(engine, text):
    assert engine.api("GET", "/vms?" + urllib.parse.urlencode({"search": text})).status == 400


def test_follow_inlines_and_leaves_the_links(engine):
    vm = engine.get("/vms/%s?follow=disk_attachments.disk.storage_domains,"
                    "nics.vnic_profile.network,nics.reported_devices,cluster,tags" % engine.vm("web one")["id"])
    assert [d.findtext("alias") for d in vm.findall("disk_attachments/disk_attachment/disk")] == [
        "boot", "data"]
    assert vm.findtext("disk_attachments/disk_attachment/disk/storage_domains/storage_domain/name"
                       ) == "data"
    assert vm.findtext("nics/nic/vnic_profile/network/name") == "blue"
    assert vm.findtext("nics/nic/reported_devices/reported_device/ips/ip/address") == "192.0.2.5"
    assert vm.findtext("cluster/name") == "Default" and vm.findtext("tags/tag/name") == "prod"
    assert "nics" in [link.get("rel") for link in vm.findall("link")]


def test_follow_works_on_collections(engine):
    names = [p.findtext("name") for p in
             engine.get("/networks?follow=vnic_profiles").findall(".//vnic_profile")]
    assert names == ["ovirtmgmt", "fast", "slow"]


@pytest.mark.parametrize("mode, status", [("strict", 400), ("lenient", 200), ("off", 200)])
def test_an_unknown_name_to_follow(start, mode, status):
    engine = start(engine={"follow": mode})
    assert engine.api("GET", "/vms?follow=nothing").status == status
    if mode == "off":
        assert engine.get("/vms?follow=nics").find("vm/nics") is None


def test_all_content_comes_by_query_or_header(engine):
    path = "/vms/" + engine.vm("web one")["id"]
    assert engine.get(path).find("rng_device") is None
    assert engine.get(path + "?all_content=true").findtext("rng_device/source") == "urandom"
    assert engine.get(path, All_Content="true").findtext("console/enabled") == "true"


def test_disk_snapshots_show_the_chain(engine):
    domain = engine.get("/storagedomains")[0].get("href")
    chain = engine.disk("chain")

    def layers(query):
        return [s for s in engine.get(domain + "/disksnapshots" + query)
                if s.find("disk").get("id") == chain]
    active, old = layers("?include_active=true&include_template=true")
    assert active.find("parent").get("id") == old.get("id")
    assert [s.get("id") for s in layers("")] == [old.get("id")]


# Power ------------------------------------------------------------------------------------------

def status_of(engine, name):
    return engine.get("/vms/" + engine.vm(name)["id"]).findtext("status")


def power(engine, name, action):
    return engine.api("POST", "/vms/%s/%s" % (engine.vm(name)["id"], action), "<action/>")


def await_status(engine, name, status):
    deadline = time.monotonic() + 5
    while status_of(engine, name) != status:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_shutdown_goes_through_powering_down(engine):
    path = "/vms/" + engine.vm("web one")["id"]
    before = engine.get(path)
    assert before.findtext("fqdn") == "web.test" and before.find("host") is not None
    reply = power(engine, "web one", "shutdown")
    assert reply.status == 200 and reply.xml().findtext("status") == "complete"
    assert reply.xml().find("job").get("id")
    assert status_of(engine, "web one") == "powering_down"
    await_status(engine, "web one", "down")
    after = engine.get(path)
    assert after.find("fqdn") is None and after.find("host") is None
    assert after.find("stop_time") is not None


def test_a_disk_may_be_attached_to_several_machines_and_change_its_size(start):
    engine = start(disks=[{"alias": "shared", "provisioned_size": 1 << 20, "shareable": True}],
                   vms=[{"name": "one", "attach": ["shared"]},
                        {"name": "two", "attach": ["shared"], "status": "up"}])
    reply = engine.api("GET", "/vms?follow=disk_attachments").xml()
    assert [len(vm.findall("disk_attachments/disk_attachment")) for vm in reply] == [1, 1]
    engine.control("/disk", id="shared", provisioned_size=2 << 20)
    disk = engine.api("GET", "/disks").xml().find("disk")
    assert disk.findtext("provisioned_size") == str(2 << 20)
    body = ('<image_transfer><disk id="%s"/><direction>download</direction></image_transfer>'
            % disk.get("id"))
    refused = engine.api("POST", "/imagetransfers", body)
    assert refused.status == 409 and "two" in fault(refused)


def test_what_is_down_cannot_be_stopped(engine):
    for action in ("shutdown", "stop"):
        reply = power(engine, "twin", action)
        assert reply.status == 409 and reply.xml().tag == "action"
        assert reply.xml().findtext("status") == "failed"
        assert "VM is not running" in fault(reply)


def test_a_machine_may_ignore_a_shutdown(start):
    engine = start(vms=[{"name": "a", "status": "up", "shutdown_seconds": "ignored"}])
    assert power(engine, "a", "shutdown").status == 200
    assert status_of(engine, "a") == "powering_down"
    deadline = time.monotonic() + 10
    while status_of(engine, "a") != "up":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_machine_may_never_shut_down_but_stops(start):
    engine = start(vms=[{"name": "a", "status": "up", "shutdown_seconds": "never"}])
    assert power(engine, "a", "shutdown").status == 200
    time.sleep(0.5)
    assert status_of(engine, "a") == "powering_down"
    assert power(engine, "a", "stop").status == 200
    assert status_of(engine, "a") == "down"


def test_start_comes_up_over_time_and_is_refused_when_up(start):
    engine = start(vms=[{"name": "a", "start_seconds": 0.3}])
    assert power(engine, "a", "start").status == 200
    assert status_of(engine, "a") == "wait_for_launch"
    assert power(engine, "a", "start").status == 409
    await_status(engine, "a", "up")


def test_a_machine_with_a_locked_disk_does_not_start(engine):
    engine.transfer(engine.disk("cold"))
    reply = power(engine, "twin", "start")
    assert reply.status == 409 and "disks are locked" in fault(reply)


def test_a_locked_machine_refuses_everything(engine):
    engine.control("/vm", id="twin", status="image_locked")
    for action in ("shutdown", "stop", "start"):
        assert "VM is locked" in fault(power(engine, "twin", action))


# Control ----------------------------------------------------------------------------------------

def test_injected_faults_are_used_up(engine):
    engine.control("/fault", path_regex="/vms$", method="GET", status=503, times=2)
    assert [engine.api("GET", "/vms").status for _ in range(3)] == [503, 503, 200]
    engine.control("/fault", path_regex="/vms$", status=200, body="<html/>",
                   content_type="text/html")
    assert engine.api("GET", "/vms").headers["Content-Type"] == "text/html"
    engine.control("/fault", path_regex="/vms$", delay_seconds=0.3)
    began = time.monotonic()
    assert engine.api("GET", "/vms").status == 200 and time.monotonic() - began >= 0.3


def test_a_dropped_request_may_have_taken_effect_row_8_8(engine):
    engine.control("/fault", path_regex="/imagetransfers$", method="POST", drop="after")
    with pytest.raises((OSError, http.client.HTTPException)):
        engine.ask_transfer(engine.disk("cold"))
    assert len(engine.get("/imagetransfers")) == 1
    engine.control("/fault", path_regex="/imagetransfers$", method="POST", drop="before")
    with pytest.raises((OSError, http.client.HTTPException)):
        engine.ask_transfer(engine.disk("chain"))
    assert len(engine.get("/imagetransfers")) == 1


def test_an_action_of_status_200_can_hold_a_fault_row_8_40(engine):
    engine.control("/fault", path_regex="/shutdown$", body="<action><status>failed</status><fault>"
                   "<reason>Operation Failed</reason><detail>[no]</detail></fault></action>")
    reply = power(engine, "web one", "shutdown")
    assert reply.status == 200 and fault(reply) == "[no]"


def test_nonsense_to_the_control_endpoint_is_told(engine):
    for path, tree in (("/fault", {}), ("/fault", {"colour": 1}), ("/vm", {"id": "none"}),
                       ("/imageio-fault", {"kind": "none"}), ("/transfer", {"id": "none"})):
        with pytest.raises(AssertionError):
            engine.control(path, **tree)


def test_the_request_log_shows_what_clients_send(engine):
    engine.api("GET", "/vms?max=1", Version=None)
    last = engine.control("/state")["requests"][-1]
    assert last["path"].endswith("/vms?max=1") and last["status"] == 200
    assert last["version"] is None and last["auth"] == "Bearer"


@pytest.mark.parametrize("tree, words", [
    ({"vms": [{}]}, "has no name"), ({"engine": {"colour": 1}}, "unknown engine settings"),
    ({"vms": [{"name": "a", "cluster": "none"}]}, "there is no none"),
    ({"vms": [{"name": "a", "disks": [{}]}]}, "give image or provisioned_size"),
    ({"vms": [{"name": "a", "disks": [{"image": "none"}]}]}, "No such file"),
    ({"vms": [{"name": "a"}, {"name": "a"}]}, "used twice")])
def test_a_bad_bed_file_is_refused_with_the_reason(tmp_path, tree, words):
    path = tmp_path / "bed.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(inventory.BadBed, match=words):
        inventory.load(path)
