"""What vcsim-bed promises, asked over raw SOAP and HTTP. Run: /usr/bin/python3 -m pytest tests/support/vcsim

VCSIM_BED names the program; without it, it is built into build/bin.
"""
import json
import pathlib
import subprocess
import sys
import threading
import time

import pytest
from vcsim_client import PASSWORD, VIM, WEB_UUID, XSI, Bed, Client, Fault


def test_it_starts_within_three_seconds_and_says_where(bed):
    assert bed.start_seconds < 3
    assert len(bed.ready["thumbprint_sha1"].split(":")) == 20 and len(bed.ready["thumbprint_sha256"].split(":")) == 32
    assert [vm["name"] for vm in bed.ready["vms"]] == ["web01", "twin", "twin"]
    assert len({vm["moref"] for vm in bed.ready["vms"]}) == len({d["path"] for vm in bed.ready["vms"] for d in vm["disks"]}) - 4


def test_a_session_lives_from_login_to_logout(bed):
    client = Client(bed, login=False)
    content = client.this("RetrieveServiceContent", "ServiceInstance", "ServiceInstance")
    assert content.find(f".//{VIM}apiType").text == "VirtualCenter"
    with pytest.raises(Fault) as refused:
        client.this("CurrentTime", "ServiceInstance", "ServiceInstance")
    assert (refused.value.status, refused.value.kind) == (500, "NotAuthenticated")
    with pytest.raises(Fault) as refused:
        client.properties(bed.vms["web01"]["moref"], "name")
    assert refused.value.kind == "NotAuthenticated"
    with pytest.raises(Fault) as refused:
        client.login("wrong")
    assert refused.value.kind == "InvalidLogin"
    client.login()
    assert client.cookie.startswith('vmware_soap_session="') and "Secure" in client.set_cookie
    client.this("CurrentTime", "ServiceInstance", "ServiceInstance")
    assert bed.control("/state")["sessions"] == 1
    client.this("Logout", "SessionManager", "SessionManager")
    with pytest.raises(Fault):
        client.this("CurrentTime", "ServiceInstance", "ServiceInstance")
    state = bed.control("/state")
    assert (state["logins"], state["invalid_logins"], state["logouts"], state["sessions"]) == (1, 1, 1, 0)
    client.login()  # with the dead cookie still sent


def test_sessions_expire_when_told_to(bed, client):
    assert bed.control("/expire-sessions", {}) == {"expired": 1}
    with pytest.raises(Fault) as refused:
        client.this("CurrentTime", "ServiceInstance", "ServiceInstance")
    assert refused.value.kind == "NotAuthenticated"
    assert client.folder("web01/web01.vmdk")[0].status == 401
    client.login()
    assert client.folder("web01/web01.vmdk")[0].status == 200


def test_idle_sessions_expire(tmp_path):
    bed = Bed(tmp_path, {"vms": []}, "--session-idle", "300ms")
    client = Client(bed)
    time.sleep(0.5)
    with pytest.raises(Fault):
        client.this("CurrentTime", "ServiceInstance", "ServiceInstance")
    bed.stop()


def test_the_vm_has_the_hardware_asked_for(bed, client):
    paths = ["name", "config.uuid", "config.firmware", "config.bootOptions", "config.guestId", "config.hardware.numCPU",
             "config.hardware.numCoresPerSocket", "config.hardware.memoryMB", "config.hardware.device", "runtime.powerState",
             "guest.toolsRunningStatus", "guest.hostName", "config.cpuHotAddEnabled", "snapshot", "layoutEx"]
    got = client.properties(bed.vms["web01"]["moref"], *paths)
    text = {k: v.text for k, v in got.items()}
    assert "snapshot" not in got  # unset is absent
    assert (text["name"], text["config.uuid"], text["config.firmware"]) == ("web01", WEB_UUID, "efi")
    assert (text["config.hardware.numCPU"], text["config.hardware.numCoresPerSocket"]) == ("4", "2")
    assert (text["config.hardware.memoryMB"], text["config.guestId"]) == ("4096", "rhel9_64Guest")
    assert (text["guest.toolsRunningStatus"], text["guest.hostName"]) == ("guestToolsRunning", "web01.example")
    assert text["config.cpuHotAddEnabled"] == "true"
    assert got["config.bootOptions"].findtext(VIM + "efiSecureBootEnabled") == "true"

    devices = {d.findtext(VIM + "key"): d for d in got["config.hardware.device"]}
    disks = [d for d in devices.values() if d.get(XSI) == "VirtualDisk"]
    assert [d.findtext(VIM + "key") for d in disks] == ["2000", "2001", "16000", "32000", "3000"]
    kinds = [devices[d.findtext(VIM + "controllerKey")].get(XSI) for d in disks]
    assert kinds == ["ParaVirtualSCSIController"] * 2 + ["VirtualAHCIController", "VirtualNVMEController", "VirtualIDEController"]
    assert [d.findtext(f"{VIM}deviceInfo/{VIM}label") for d in disks] == [f"Hard disk {n}" for n in range(1, 6)]
    first = disks[0].find(VIM + "backing")
    assert first.get(XSI) == "VirtualDiskFlatVer2BackingInfo"
    assert first.findtext(VIM + "fileName") == "[LocalDS_0] web01/web01.vmdk"
    assert first.findtext(VIM + "thinProvisioned") == "true" and first.findtext(VIM + "uuid").startswith("6000C29")
    assert first.find(VIM + "datastore").get("type") == "Datastore"
    assert (disks[0].findtext(VIM + "capacityInBytes"), disks[0].findtext(VIM + "capacityInKB")) == ("10485760", "10240")
    assert disks[1].findtext(f"{VIM}backing/{VIM}diskMode") == "independent_persistent"
    assert len({d.findtext(f"{VIM}backing/{VIM}uuid") for d in disks}) == 5

    nics = [d for d in devices.values() if d.find(VIM + "macAddress") is not None]
    assert [n.get(XSI) for n in nics] == ["VirtualVmxnet3", "VirtualE1000e"]
    assert nics[0].findtext(VIM + "macAddress") == "00:50:56:aa:bb:01"
    assert nics[0].find(f"{VIM}backing/{VIM}port/{VIM}portgroupKey") is not None
    assert nics[1].findtext(f"{VIM}backing/{VIM}deviceName") == "VM Network"
    assert nics[1].findtext(f"{VIM}connectable/{VIM}connected") == "false"
    files = [f.findtext(VIM + "name") for f in got["layoutEx"].iter(VIM + "file")]
    assert any(name.endswith("web01-flat.vmdk") for name in files)


def test_vms_are_found_by_uuid_and_path(bed, client):
    def find(method, rest):
        found = client.this(method, "SearchIndex", "SearchIndex", rest).find(VIM + "returnval")
        return None if found is None else found.text

    web = bed.vms["web01"]
    assert find("FindByUuid", f"<uuid>{WEB_UUID}</uuid><vmSearch>true</vmSearch>") == web["moref"]
    instance = f"<uuid>{web['instance_uuid']}</uuid><vmSearch>true</vmSearch><instanceUuid>true</instanceUuid>"
    assert find("FindByUuid", instance) == web["moref"]
    assert find("FindByUuid", "<uuid>00000000-0000-0000-0000-000000000000</uuid><vmSearch>true</vmSearch>") is None
    assert find("FindByInventoryPath", "<inventoryPath>DC0/vm/prod/web/web01</inventoryPath>") == web["moref"]
    assert web["path"] == "DC0/vm/prod/web/web01"
    twins = {find("FindByInventoryPath", f"<inventoryPath>DC0/vm/{f}/twin</inventoryPath>") for f in "ab"}
    assert len(twins) == 2 and None not in twins


def view_of_all(client):
    return client.this("CreateContainerView", "ViewManager", "ViewManager",
                       '<container type="Folder">group-d1</container><type>VirtualMachine</type><recursive>true</recursive>'
                       ).findtext(VIM + "returnval")


def list_names(view, limit, path="name"):
    return (f"<specSet><propSet><type>VirtualMachine</type><pathSet>{path}</pathSet></propSet>"
            f'<objectSet><obj type="ContainerView">{view}</obj><skip>true</skip><selectSet xsi:type="TraversalSpec">'
            "<name>view</name><type>ContainerView</type><path>view</path><skip>false</skip></selectSet></objectSet></specSet>"
            f"<options><maxObjects>{limit}</maxObjects></options>")


def test_listings_come_in_pages(bed, client):
    view = view_of_all(client)
    answer = client.this("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", list_names(view, 1))
    pages, morefs = 0, []
    while True:
        pages += 1
        result = answer.find(VIM + "returnval")
        morefs += [o.findtext(VIM + "obj") for o in result.iter(VIM + "objects")]
        token = result.findtext(VIM + "token")
        if token is None:
            break
        answer = client.this("ContinueRetrievePropertiesEx", "PropertyCollector", "propertyCollector", f"<token>{token}</token>")
    assert pages == 3 and sorted(morefs) == sorted(vm["moref"] for vm in bed.ready["vms"])
    client.this("DestroyView", "ContainerView", view)
    with pytest.raises(Fault) as refused:
        client.this("ContinueRetrievePropertiesEx", "PropertyCollector", "propertyCollector", "<token>9</token>")
    assert refused.value.kind == "InvalidArgument"


def test_an_unknown_property_fails_the_whole_call(client):
    view = view_of_all(client)
    with pytest.raises(Fault) as refused:
        client.this("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", list_names(view, 1, "config.nonsense"))
    assert refused.value.kind == "InvalidProperty" and refused.value.detail.findtext(VIM + "name") == "config.nonsense"


SWAPPED = {  # method -> (type, object, children out of order, unknown, or missing)
    "RetrievePropertiesEx": ("PropertyCollector", "propertyCollector", "<options/><specSet/>"),
    "RetrievePropertiesEx without options": ("PropertyCollector", "propertyCollector",
                                             "<specSet><propSet><type>Task</type></propSet><objectSet><obj type='Task'>t</obj>"
                                             "</objectSet></specSet>"),
    "RetrievePropertiesEx path before type": ("PropertyCollector", "propertyCollector",
                                              "<specSet><propSet><pathSet>name</pathSet><type>Task</type></propSet>"
                                              "<objectSet><obj type='Task'>t</obj></objectSet></specSet><options/>"),
    "RetrievePropertiesEx unordered selectSet": ("PropertyCollector", "propertyCollector",
                                                 list_names("v", 1).replace("<path>view</path><skip>false</skip>",
                                                                            "<skip>false</skip><path>view</path>")),
    "ContinueRetrievePropertiesEx": ("PropertyCollector", "propertyCollector", "<token>1</token><options/>"),
    "CreateContainerView": ("ViewManager", "ViewManager", "<type>VirtualMachine</type><container type='Folder'>group-d1"
                            "</container><recursive>true</recursive>"),
    "DestroyView": ("ContainerView", "v", "<view/>"),
    "FindByUuid": ("SearchIndex", "SearchIndex", "<vmSearch>true</vmSearch><uuid>x</uuid>"),
    "FindByInventoryPath": ("SearchIndex", "SearchIndex", "<path>DC0</path>"),
    "Logout": ("SessionManager", "SessionManager", "<now/>"),
    "ShutdownGuest": ("VirtualMachine", "vm-1", "<force>true</force>"),
    "PowerOnVM_Task": ("VirtualMachine", "vm-1", "<force>true</force>"),
    "PowerOffVM_Task": ("VirtualMachine", "vm-1", "<force>true</force>"),
    "CreateSnapshot_Task": ("VirtualMachine", "vm-1", "<name>s</name><quiesce>false</quiesce><memory>false</memory>"),
    "RemoveSnapshot_Task": ("VirtualMachineSnapshot", "s", "<consolidate>true</consolidate><removeChildren>false</removeChildren>"),
    "CurrentTime": ("ServiceInstance", "ServiceInstance", "<zone>UTC</zone>"),
}


@pytest.mark.parametrize("case", SWAPPED)
def test_requests_out_of_schema_order_are_refused(shared_client, case):
    kind, value, rest = SWAPPED[case]
    with pytest.raises(Fault) as refused:
        shared_client.this(case.split()[0], kind, value, rest)
    assert (refused.value.status, refused.value.kind) == (500, "InvalidRequest")


def test_a_login_out_of_order_or_in_no_namespace_is_refused(shared_client):
    for body in ('<Login xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this><password>p</password>'
                 "<userName>u</userName></Login>",
                 '<CurrentTime><_this type="ServiceInstance">ServiceInstance</_this></CurrentTime>',
                 '<NoSuchMethod xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></NoSuchMethod>'):
        with pytest.raises(Fault) as refused:
            shared_client.call(body)
        assert refused.value.kind == "InvalidRequest"


def test_a_guest_shuts_down_in_its_own_time(bed, client):
    web = bed.vms["web01"]["moref"]
    client.this("ShutdownGuest", "VirtualMachine", web)
    begin = time.monotonic()
    assert client.power_state(web) == "poweredOn"
    while client.power_state(web) == "poweredOn":
        assert time.monotonic() - begin < 5
        time.sleep(0.05)
    assert time.monotonic() - begin > 0.8
    assert client.properties(web, "guest.toolsRunningStatus")["guest.toolsRunningStatus"].text == "guestToolsNotRunning"
    with pytest.raises(Fault) as refused:
        client.this("ShutdownGuest", "VirtualMachine", web)
    assert refused.value.kind == "InvalidPowerState" and refused.value.detail.findtext(VIM + "existingState") == "poweredOff"
    info = client.wait_task(client.this("PowerOnVM_Task", "VirtualMachine", web))
    assert info.findtext(VIM + "state") == "success" and client.power_state(web) == "poweredOn"
    assert bed.control("/vm", {"name": web, "power": "suspended"})["power"] == "suspended"
    assert client.power_state(web) == "suspended"
    bed.control("/vm", {"name": "web01", "set": {"runtime.consolidationNeeded": "true"}})
    assert client.properties(web, "runtime.consolidationNeeded")["runtime.consolidationNeeded"].text == "true"


def test_a_guest_may_ignore_the_shutdown_and_be_powered_off(bed, client):
    on, off = bed.ready["vms"][1]["moref"], bed.ready["vms"][2]["moref"]
    client.this("ShutdownGuest", "VirtualMachine", on)
    time.sleep(0.5)
    assert client.power_state(on) == "poweredOn" and bed.control("/state")["vms"][on]["shutdown_requests"] == 1
    client.wait_task(client.this("PowerOffVM_Task", "VirtualMachine", on))
    assert client.power_state(on) == "poweredOff"
    info = client.wait_task(client.this("PowerOffVM_Task", "VirtualMachine", on))
    assert info.find(f"{VIM}error/{VIM}fault").get(XSI) == "InvalidPowerState"
    bed.control("/vm", {"name": off, "power": "on"})
    with pytest.raises(Fault) as refused:
        client.this("ShutdownGuest", "VirtualMachine", off)
    assert refused.value.kind == "ToolsUnavailable"


def test_a_vm_can_vanish(bed, client):
    web = bed.vms["web01"]
    bed.control("/vm", {"name": "web01", "destroy": True})
    with pytest.raises(Fault) as refused:
        client.power_state(web["moref"])
    assert refused.value.kind == "ManagedObjectNotFound"
    assert bed.control("/state")["vms"][web["moref"]]["power"] == "gone"


def test_snapshots_come_and_go(bed, client):
    web = bed.vms["web01"]["moref"]
    info = client.wait_task(client.this("CreateSnapshot_Task", "VirtualMachine", web,
                                        "<name>one</name><memory>false</memory><quiesce>true</quiesce>"))
    snapshot = info.findtext(VIM + "result")
    assert bed.control("/state")["vms"][web]["snapshots"] == ["one"]
    frozen = client.properties(snapshot, "config.hardware.device", kind="VirtualMachineSnapshot")["config.hardware.device"]
    assert sum(d.get(XSI) == "VirtualDisk" for d in frozen) == 5
    info = client.wait_task(client.this("RemoveSnapshot_Task", "VirtualMachineSnapshot", snapshot,
                                        "<removeChildren>false</removeChildren><consolidate>true</consolidate>"))
    assert info.findtext(VIM + "state") == "success" and bed.control("/state")["vms"][web]["snapshots"] == []


def test_soap_faults_can_be_asked_for(bed, client):
    bed.control("/fault", {"method": "CurrentTime", "status": 503, "times": 1})
    bed.control("/fault", {"method": "CurrentTime", "fault": "HostCommunication", "message": "no way", "times": 1})
    now = ("CurrentTime", "ServiceInstance", "ServiceInstance")
    with pytest.raises(Fault) as refused:
        client.this(*now)
    assert (refused.value.status, refused.value.kind) == (503, None)
    with pytest.raises(Fault) as refused:
        client.this(*now)
    assert refused.value.kind == "HostCommunication"
    client.this(*now)
    bed.control("/fault", {"method": "CurrentTime", "fault": "NotAuthenticated", "times": 1})
    for _ in range(2):  # the session is really gone
        with pytest.raises(Fault) as refused:
            client.this(*now)
        assert refused.value.kind == "NotAuthenticated"


def test_changes_are_pushed_to_who_waits_for_them(bed, client):
    twin = bed.ready["vms"][1]["moref"]
    collector = client.this("CreatePropertyCollector", "PropertyCollector", "propertyCollector").findtext(VIM + "returnval")
    client.this("CreateFilter", "PropertyCollector", collector,
                "<spec><propSet><type>VirtualMachine</type><pathSet>runtime.powerState</pathSet></propSet>"
                f'<objectSet><obj type="VirtualMachine">{twin}</obj></objectSet></spec><partialUpdates>false</partialUpdates>')

    def wait(version):
        answer = client.this("WaitForUpdatesEx", "PropertyCollector", collector,
                             f"<version>{version}</version><options><maxWaitSeconds>5</maxWaitSeconds></options>")
        return answer.findtext(f"{VIM}returnval/{VIM}version"), [c.findtext(VIM + "val") for c in answer.iter(VIM + "changeSet")]

    version, values = wait("")
    assert values == ["poweredOn"]
    threading.Timer(0.3, bed.control, ("/vm", {"name": twin, "power": "off"})).start()
    assert "poweredOff" in wait(version)[1]


def test_a_bad_inventory_is_refused(tmp_path):
    for wrong in ({"vms": [{"nam": "x"}]}, {"vms": [{"name": "x", "disks": [{"size_bytes": 100}]}]},
                  {"vms": [{"name": "x"}, {"name": "x"}]}, {"vms": [{"name": "x", "secure_boot": True}]},
                  {"vms": [{"name": "x", "nics": [{"network": "none"}]}]}):
        with pytest.raises(json.JSONDecodeError):
            Bed(tmp_path, wrong)
    assert not list(tmp_path.glob("state-*"))


def test_it_ends_with_its_parent(tmp_path):
    bed = Bed(tmp_path, {"vms": []})
    script = ("import subprocess, sys\np = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
              "p.stdout.readline(); print(p.pid, flush=True); sys.stdin.read()\n")
    parent = subprocess.Popen([sys.executable, "-c", script, *map(str, bed.command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(100):
        status = pathlib.Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("it lives on")
    bed.stop()
