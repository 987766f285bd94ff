"""What vcsim-bed promises of datastore reads. See vcsim_test.py for how to run it."""
import base64
import http.client
import pathlib
import threading
import time
import urllib.parse

import pytest
from vcsim_client import PASSWORD, USER, VIM, Bed, Client


def test_the_descriptor_names_the_flat_file(client):
    text = client.folder("web01/web01.vmdk")[1].decode()
    assert 'RW 20480 VMFS "web01-flat.vmdk"' in text and 'createType="vmfs"' in text and "parentCID=ffffffff" in text
    assert 'RW 2048 VMFS "web01_1-flat.vmdk"' in client.folder("web01/web01_1.vmdk")[1].decode()


def test_ranges_are_the_images_bytes(bed, client, tmp_path):
    want = (tmp_path / "image.raw").read_bytes().ljust(10 << 20, b"\0")
    flat = "web01/web01-flat.vmdk"
    response, data = client.folder(flat)
    assert (response.status, data) == (200, want) and response.getheader("Accept-Ranges") == "bytes"
    response, _ = client.folder(flat, method="HEAD")
    assert (response.status, response.getheader("Content-Length")) == (200, str(len(want)))
    for first, last in ((0, 0), (511, 512), (5 << 20, (5 << 20) + 511), (9 << 20, (10 << 20) - 1), ((10 << 20) - 5, 99 << 20)):
        response, data = client.folder(flat, Range=f"bytes={first}-{last}")
        end = min(last, len(want) - 1)
        assert (response.status, response.getheader("Content-Range")) == (206, f"bytes {first}-{end}/{len(want)}")
        assert data == want[first:end + 1]
    assert client.folder(flat, Range="bytes=-512")[1] == want[-512:]
    response, _ = client.folder(flat, Range=f"bytes={len(want)}-")
    assert (response.status, response.getheader("Content-Range")) == (416, f"bytes */{len(want)}")
    assert pathlib.Path(bed.vms["web01"]["disks"][0]["path"]).stat().st_blocks * 512 < 1 << 20  # holes stay holes
    use = bed.control("/state")["folder"]["files"][flat]
    assert use["requests"] == 9 and use["bytes"] >= len(want)


def test_datastore_reads_need_a_login(bed, client):
    stranger = Client(bed, login=False)
    response, _ = stranger.folder("web01/web01.vmdk")
    assert response.status == 401 and response.getheader("WWW-Authenticate").startswith("Basic")

    def basic(password):
        return "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()

    assert stranger.folder("web01/web01.vmdk", Authorization=basic(PASSWORD))[0].status == 200
    assert stranger.folder("web01/web01.vmdk", Authorization=basic("no"))[0].status == 401
    assert client.folder("web01/none.vmdk")[0].status == 404
    assert client.folder("../../../../etc/passwd")[0].status == 404
    client.connection.request("GET", "/folder/web01/web01.vmdk?dcPath=DC9&dsName=LocalDS_0", headers={"Cookie": client.cookie})
    response = client.connection.getresponse()
    response.read()
    assert response.status == 404
    bed.control("/delete-file", {"path": "[LocalDS_0] web01/web01_1-flat.vmdk"})
    assert client.folder("web01/web01_1-flat.vmdk")[0].status == 404


def test_datastore_reads_can_go_wrong(bed, client):
    flat, size = "web01/web01-flat.vmdk", 10 << 20

    def ask(**what):
        bed.control("/fault", {"folder": True, "times": 1, **what})
        return client.folder(flat, Range="bytes=0-1048575")

    assert ask(status=503)[0].status == 503
    response, data = ask(short=True)
    assert response.getheader("Content-Range") == f"bytes 0-1048575/{size}" and len(data) == 524288
    assert ask(wrong_range=True)[0].getheader("Content-Range") == f"bytes 512-1049087/{size}"
    response, data = ask(ignore_range=True)
    assert response.status == 200 and len(data) == size
    assert ask(corrupt=True)[1][1:] == client.folder(flat, Range="bytes=1-1048575")[1]
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask(drop_after=1000)
    assert len(cut.value.partial) == 1000
    client.connection.close()
    client.connection.timeout = 1
    with pytest.raises(TimeoutError):
        ask(stall=True)
    client.connection.close()
    assert client.folder(flat, Range="bytes=0-1048575")[0].status == 206


def test_faults_can_wait_for_their_file_and_turn(bed, client):
    bed.control("/fault", {"folder": True, "path": "web01_1-flat", "status": 500, "skip": 1, "times": 1})
    asked = ["web01/web01-flat.vmdk", "web01/web01_1-flat.vmdk", "web01/web01_1-flat.vmdk", "web01/web01_1-flat.vmdk"]
    assert [client.folder(path, Range="bytes=0-511")[0].status for path in asked] == [206, 206, 500, 206]
    bed.control("/fault", {"method": "CurrentTime", "delay_ms": 400, "times": 1})
    begin = time.monotonic()
    client.this("CurrentTime", "ServiceInstance", "ServiceInstance")
    assert time.monotonic() - begin > 0.4


def test_many_readers_at_once_read_the_same(bed, tmp_path):
    want = (tmp_path / "image.raw").read_bytes().ljust(10 << 20, b"\0")
    wrong = []

    def read(start):
        client = Client(bed)
        for first in range(start << 20, 10 << 20, 4 << 20):
            last = first + (1 << 20) - 1
            if client.folder("web01/web01-flat.vmdk", Range=f"bytes={first}-{last}")[1] != want[first:last + 1]:
                wrong.append(first)
        client.this("Logout", "SessionManager", "SessionManager")

    readers = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    state = bed.control("/state")
    assert not wrong and state["folder"]["bytes"] == 10 << 20 and state["sessions"] == 0 and state["logouts"] == 4


def test_datastore_reads_can_be_slow(bed, client):
    bed.control("/fault", {"rate_bytes_per_second": 1 << 20})
    begin = time.monotonic()
    client.folder("web01/web01-flat.vmdk", Range="bytes=0-1048575")
    assert 0.8 < time.monotonic() - begin < 3
    bed.control("/fault", {"clear": True})
    begin = time.monotonic()
    client.folder("web01/web01-flat.vmdk")
    assert time.monotonic() - begin < 1


def test_names_with_odd_characters_are_escaped_and_found(tmp_path):
    bed = Bed(tmp_path, {"datacenter": "Berlin (1)/DC 2", "datastore": "ssd (fast)",
                         "vms": [{"name": "a/b%c", "disks": [{"size_bytes": 512}]}]})
    client = Client(bed)
    vm = bed.ready["vms"][0]
    assert client.properties(vm["moref"], "name")["name"].text == "a%2fb%25c"
    assert vm["disks"][0]["file"] == "[ssd (fast)] a_2fb_25c/a_2fb_25c.vmdk"
    found = client.this("FindByInventoryPath", "SearchIndex", "SearchIndex", f"<inventoryPath>{vm['path']}</inventoryPath>")
    assert found.findtext(VIM + "returnval") == vm["moref"]
    names = {"dcPath": "Berlin (1)/DC 2", "dsName": "ssd (fast)"}
    for query in (names, {k: urllib.parse.quote(v, safe="") for k, v in names.items()}):
        client.connection.request("GET", "/folder/a_2fb_25c/a_2fb_25c-flat.vmdk?" + urllib.parse.urlencode(query),
                                  headers={"Cookie": client.cookie})
        response = client.connection.getresponse()
        assert (response.status, len(response.read())) == (200, 512)
    bed.stop()
