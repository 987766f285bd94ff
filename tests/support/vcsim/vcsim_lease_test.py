"""What vcsim-bed promises of export leases, snapshots' deltas and a lone ESXi host."""
import pathlib
import shutil
import subprocess
import time

import pytest
from vcsim_client import VIM, Bed, Client, Fault, image

SIZE = 9 << 20


@pytest.fixture
def bed(tmp_path):
    disks = [{"size_bytes": SIZE, "backing": "delta", "current": str(image(tmp_path))}, {"size_bytes": 1 << 20, "controller": "sata"}]
    running = Bed(tmp_path, {"vms": [{"name": "web", "disks": disks}, {"name": "on", "power": "on", "disks": disks[1:]}]})
    yield running
    running.stop()


def export(client, moref):
    return client.this("ExportVm", "VirtualMachine", moref).findtext(VIM + "returnval")


def lease(client, ref):
    return client.properties(ref, "state", "info", "error", kind="HttpNfcLease")


def ready(client, ref):
    for _ in range(100):
        found = lease(client, ref)
        if found["state"].text != "initializing":
            return found
        time.sleep(0.02)
    raise AssertionError("the lease never gets ready")


def urls(found):
    return {url.findtext(VIM + "key"): url for url in found["info"].findall(VIM + "deviceUrl")}


def fetch(client, url):
    client.connection.request("GET", "/" + url.split("/", 3)[3])
    response = client.connection.getresponse()
    return response, response.read()


def act(client, ref, method, rest=""):
    return client.this(method, "HttpNfcLease", ref, rest)


def test_a_lease_gives_the_current_content_as_a_vmdk_that_qemu_img_reads(bed, tmp_path):
    client, vm = Client(bed), bed.vms["web"]
    ref = export(client, vm["moref"])
    found = ready(client, ref)
    assert found["state"].text == "ready" and ref.startswith("session[")
    disks = {key: url for key, url in urls(found).items() if url.findtext(VIM + "disk") == "true"}
    assert sorted(disks) == [f"/{vm['moref']}/ParaVirtualSCSIController0:0", f"/{vm['moref']}/VirtualAHCIController0:0"]
    first = disks[f"/{vm['moref']}/ParaVirtualSCSIController0:0"]
    assert first.findtext(VIM + "sslThumbprint") == bed.ready["thumbprint_sha1"]
    response, stream = fetch(client, first.findtext(VIM + "url"))
    assert response.status == 200 and response.getheader("Content-Length") is None
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is not installed: apt-get install qemu-utils")
    (tmp_path / "stream.vmdk").write_bytes(stream)
    subprocess.run(["qemu-img", "convert", "-O", "raw", tmp_path / "stream.vmdk", tmp_path / "out.raw"], check=True)
    assert (tmp_path / "out.raw").read_bytes() == (tmp_path / "image.raw").read_bytes()
    act(client, ref, "HttpNfcLeaseComplete")
    with pytest.raises(Fault) as gone:
        lease(client, ref)
    assert gone.value.kind == "ManagedObjectNotFound"
    assert fetch(client, first.findtext(VIM + "url"))[0].status == 404
    state = bed.control("/state")["leases"]
    assert (state["begun"], state["completed"], state["aborted"], state["live"]) == (1, 1, 0, [])


def test_a_delta_is_no_flat_file(bed):
    client = Client(bed)
    disk = bed.vms["web"]["disks"][0]
    assert disk["file"].endswith("web-000001.vmdk")
    text = client.folder("web/web-000001.vmdk")[1].decode()
    assert "VMFSSPARSE" in text and "parentCID=ffffffff" not in text
    assert pathlib.Path(disk["path"]).stat().st_size == SIZE


def test_a_lease_blocks_its_vm_and_wants_it_off(bed):
    client = Client(bed)
    with pytest.raises(Fault) as running:
        export(client, bed.vms["on"]["moref"])
    assert running.value.kind == "InvalidPowerState"
    ref = export(client, bed.vms["web"]["moref"])
    for method in ("ExportVm", "PowerOnVM_Task"):
        with pytest.raises(Fault) as busy:
            client.this(method, "VirtualMachine", bed.vms["web"]["moref"])
        assert busy.value.kind == "TaskInProgress"
    act(client, ref, "HttpNfcLeaseAbort")
    client.wait_task(client.this("PowerOnVM_Task", "VirtualMachine", bed.vms["web"]["moref"]))


def test_a_lease_ends_without_progress_and_lives_with_it(bed):
    client = Client(bed)
    bed.control("/lease", {"timeout_seconds": 1})
    ref = export(client, bed.vms["web"]["moref"])
    url = next(u for u in urls(ready(client, ref)).values() if u.findtext(VIM + "disk") == "true").findtext(VIM + "url")
    for percent in (10, 20, 30):
        time.sleep(0.6)
        act(client, ref, "HttpNfcLeaseProgress", f"<percent>{percent}</percent>")
    assert lease(client, ref)["state"].text == "ready"
    time.sleep(1.5)
    found = lease(client, ref)
    assert found["state"].text == "error" and "timed out" in found["error"].findtext(VIM + "localizedMessage")
    assert fetch(client, url)[0].status == 404
    with pytest.raises(Fault) as late:
        act(client, ref, "HttpNfcLeaseProgress", "<percent>40</percent>")
    assert late.value.kind == "Timedout"


def test_a_lease_belongs_to_its_session(bed):
    client, other = Client(bed), Client(bed)
    ref = export(client, bed.vms["web"]["moref"])
    for ask in (lambda: lease(other, ref), lambda: act(other, ref, "HttpNfcLeaseAbort")):
        with pytest.raises(Fault) as foreign:
            ask()
        assert foreign.value.kind == "ManagedObjectNotFound"
    client.this("Logout", "SessionManager", "SessionManager")
    assert bed.control("/state")["leases"]["live"] == []


def test_requests_of_leases_are_read_by_the_schema(bed):
    client = Client(bed)
    ref = export(client, bed.vms["web"]["moref"])
    for rest in ("", "<percent>many</percent>", "<percent>1</percent><percent>2</percent>"):
        with pytest.raises(Fault) as wrong:
            act(client, ref, "HttpNfcLeaseProgress", rest)
        assert wrong.value.kind == "InvalidRequest"


def test_a_host_gives_no_more_streams_than_it_has(bed):
    client = Client(bed)
    bed.control("/lease", {"streams": 1})
    bed.control("/fault", {"rate_bytes_per_second": 4096})
    found = ready(client, export(client, bed.vms["web"]["moref"]))
    first, second = (u.findtext(VIM + "url") for u in urls(found).values() if u.findtext(VIM + "disk") == "true")
    client.connection.request("GET", "/" + first.split("/", 3)[3])
    client.connection.getresponse()
    assert fetch(Client(bed, login=False), second)[0].status == 503


def test_a_lone_host_says_what_it_is(tmp_path):
    bed = Bed(tmp_path, {"host": True, "vms": [{"name": "lone", "disks": [{"size_bytes": 1 << 20}]}]})
    try:
        content = Client(bed, login=False).this("RetrieveServiceContent", "ServiceInstance", "ServiceInstance")
        assert content.find(f".//{VIM}apiType").text == "HostAgent"
        assert content.find(f".//{VIM}sessionManager").text == "ha-sessionmgr"
        assert bed.ready["datacenter"] == "ha-datacenter"
    finally:
        bed.stop()


def test_disks_change_behind_a_clients_back(bed):
    client, vm = Client(bed), bed.vms["on"]
    bed.control("/vm", {"name": "on", "power": "off"})
    bed.control("/vm", {"name": "on", "grow_bytes": 1 << 20})
    assert pathlib.Path(vm["disks"][0]["path"]).stat().st_size == 2 << 20
    bed.control("/vm", {"name": "on", "snapshot": True})
    devices = client.properties(vm["moref"], "config.hardware.device")["config.hardware.device"]
    names = [name.text for name in devices.iter(VIM + "fileName")]
    assert "[LocalDS_0] on/on-000001.vmdk" in names, names
    assert bed.control("/state")["vms"][vm["moref"]]["snapshots"] == ["somebody else's"]
