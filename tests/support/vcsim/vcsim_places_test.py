"""What vcsim-bed promises of data centres, pools, vApps, networks and rights. See vcsim_test.py for how to run it."""
import http.client
import threading
import time
import urllib.parse

import pytest
from vcsim_client import VIM, Bed, Client


@pytest.fixture
def estate(tmp_path):
    letters = {}
    for letter in "ab":
        letters[letter] = tmp_path / f"{letter}.raw"
        letters[letter].write_bytes(letter.encode() * (1 << 20))
    bed = Bed(tmp_path, {
        "others": [{"datacenter": "Site/DC1", "datastore": "LocalDS_0"}], "utc_offset_seconds": -3600,
        "opaque": [{"name": "segment", "id": "segment-77"}],
        "vms": [{"name": "one", "folder": "x", "annotation": "note",
                 "disks": [{"size_bytes": 1 << 20, "image": str(letters["a"])}],
                 "nics": [{"network": "segment"}, {"network": "DC0_DVPG0", "type": "sriov"}],
                 "boot_order": ["nic:1", "disk:0", "cdrom"]},
                {"name": "two", "datacenter": "Site/DC1", "folder": "x",
                 "disks": [{"size_bytes": 1 << 20, "image": str(letters["b"]), "backing": "split"}]},
                {"name": "boxed", "pool": "gold/silver", "app": "shop"}]})
    yield bed
    bed.stop()


def read(client, path, datacenter):
    query = urllib.parse.urlencode({"dcPath": datacenter, "dsName": "LocalDS_0"})
    client.connection.request("GET", f"/folder/{path}?{query}", headers={"Cookie": client.cookie})
    response = client.connection.getresponse()
    return response.status, response.read()


def test_each_data_centre_has_its_own_datastore(estate):
    client = Client(estate)
    assert read(client, "one/one-flat.vmdk", "DC0") == (200, b"a" * (1 << 20))
    assert read(client, "one/one-flat.vmdk", "Site/DC1")[0] == 404
    text = read(client, "two/two.vmdk", "Site/DC1")[1].decode()
    assert 'FLAT "two-f001.vmdk" 0' in text and 'FLAT "two-f002.vmdk" 0' in text and "two-flat" not in text
    assert b"".join(read(client, f"two/two-f00{part}.vmdk", "Site/DC1")[1] for part in (1, 2)) == b"b" * (1 << 20)
    assert estate.vms["two"]["path"] == "Site/DC1/vm/x/two"


def test_a_vm_of_a_vapp_has_no_folder(estate):
    client = Client(estate)
    got = client.properties(estate.vms["boxed"]["moref"], "parent", "parentVApp", "resourcePool")
    assert "parent" not in got and got["parentVApp"].get("type") == "VirtualApp"
    assert estate.vms["boxed"]["path"] == "DC0/host/DC0_C0/Resources/gold/silver/shop/boxed"


def test_hardware_beyond_the_usual(estate):
    client = Client(estate)
    got = client.properties(estate.vms["one"]["moref"], "config.bootOptions", "config.hardware.device", "runtime.host")
    kinds = [each.attrib for each in got["config.bootOptions"].iter(VIM + "bootOrder")]
    assert [next(iter(kind.values())).split("Bootable")[1] for kind in kinds] == ["EthernetDevice", "DiskDevice", "CdromDevice"]
    assert [each.text for each in got["config.hardware.device"].iter(VIM + "opaqueNetworkId")] == ["segment-77"]
    host = client.properties(got["runtime.host"].text, "config.dateTimeInfo", kind="HostSystem")
    assert host["config.dateTimeInfo"].find(f".//{VIM}gmtOffset").text == "-3600"
    estate.control("/vm", {"name": "one", "host": "DC0_C0_H1"})
    assert client.properties(estate.vms["one"]["moref"], "runtime.host")["runtime.host"].text != got["runtime.host"].text


def test_denied_properties_are_missing_with_the_reason(estate):
    client = Client(estate)
    estate.control("/deny", {"paths": ["config.annotation"]})
    wish = "<propSet><type>VirtualMachine</type><pathSet>name</pathSet><pathSet>config.annotation</pathSet></propSet>"
    of = f'<objectSet><obj type="VirtualMachine">{estate.vms["one"]["moref"]}</obj></objectSet>'
    answer = client.this("RetrievePropertiesEx", "PropertyCollector", "propertyCollector",
                         f"<specSet>{wish}{of}</specSet><options/>")
    assert [each.findtext(VIM + "path") for each in answer.iter(VIM + "missingSet")] == ["config.annotation"]
    estate.control("/deny", {"paths": []})
    assert "config.annotation" in client.properties(estate.vms["one"]["moref"], "config.annotation")


def test_a_late_answer_is_of_something_that_was_done(estate):
    estate.control("/fault", {"method": "Login", "late_ms": 1500, "times": 1})
    client = Client(estate, login=False)

    def leave():
        try:
            client.login()
        except (OSError, http.client.HTTPException):
            pass
    waiting = threading.Thread(target=leave)
    waiting.start()
    deadline = time.monotonic() + 10
    while estate.control("/state")["sessions"] == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert waiting.is_alive() and estate.control("/state")["sessions"] == 1
    waiting.join(20)
