"""The data plane: the same questions to the real daemon and to the builtin one."""

import contextlib
import hashlib
import os
import ssl
import subprocess
import threading
import time

import pytest

from bed import MIB, Data, make_certificates

RAW_SIZE = 10 * MIB + 512


@pytest.fixture
def cold(start, imageio_kind):
    """(engine, transfer, connection) of a raw disk ready to download."""
    engine = start(imageio_kind)
    transfer = engine.transfer(engine.disk("cold"))
    data = Data(engine, transfer.findtext("transfer_url"))
    yield engine, transfer, data
    data.close()


def image(engine, name="raw.img"):
    with open(os.path.join(engine.directory, name), "rb") as file:
        return file.read()


def test_options_tell_readers_and_features_row_9_7(cold):
    reply = cold[2].ask("OPTIONS")
    tree = reply.json()
    assert reply.headers["allow"] == "OPTIONS,GET"
    assert tree["features"] == ["checksum", "extents"]
    assert (tree["max_readers"], tree["max_writers"]) == (8, 8)


def test_options_of_the_server_need_no_ticket(cold):
    data = cold[2]
    data.path = "/images/*"
    assert "max_readers" not in data.ask("OPTIONS").json()


def test_a_range_is_answered_exactly_row_9_4(cold):
    engine, _, data = cold
    for first, last in ((0, 0), (327680, 524287), (RAW_SIZE - 1, RAW_SIZE - 1), (100, MIB + 100)):
        reply = data.ask("GET", Range="bytes=%d-%d" % (first, last))
        assert reply.status == 206
        assert reply.headers["content-range"] == "bytes %d-%d/%d" % (first, last, RAW_SIZE)
        assert reply.headers["content-type"] == "application/octet-stream"
        assert reply.body == image(engine)[first:last + 1]


def test_without_a_range_the_whole_image_comes(cold):
    reply = cold[2].ask("GET")
    assert reply.status == 200 and reply.body == image(cold[0])


@pytest.mark.parametrize("wanted, status", [
    ("bytes=-5", 416), ("bytes=0-1,4-5", 416), ("bytes=9-8", 416), ("items=0-1", 416),
    ("bytes=0-%d" % RAW_SIZE, 416), ("bytes=%d-" % (RAW_SIZE + 9), 400),
    ("bytes=%d-" % (RAW_SIZE - 4), 206)])
def test_forms_of_range(cold, wanted, status):
    reply = cold[2].ask("GET", Range=wanted)
    assert reply.status == status
    if wanted == "bytes=0-%d" % RAW_SIZE:
        assert reply.headers["content-range"] == "bytes */%d" % RAW_SIZE
    assert status == 206 or reply.headers["content-type"].startswith("text/plain")


def test_extents_of_a_raw_image(cold):
    extents = cold[2].ask("GET", "/extents").json()
    data = [(e["start"], e["length"]) for e in extents if not e["zero"]]
    assert data[0] == (5 << 16, 3 << 16)
    assert_cover(extents, RAW_SIZE)


def assert_cover(extents, size):
    end = 0
    for extent in extents:
        assert extent["start"] == end and extent["length"] > 0
        end += extent["length"]
    assert end == size


@pytest.mark.parametrize("shallow", [False, True])
def test_extents_of_a_chain_row_9_5(start, imageio_kind, shallow):
    engine = start(imageio_kind)
    extra = "<format>raw</format>" + ("<shallow>true</shallow>" if shallow else "")
    transfer = engine.transfer(engine.disk("chain"), extra)
    data = Data(engine, transfer.findtext("transfer_url"))
    extents = [(e["start"], e["length"], e["zero"], e["hole"])
               for e in data.ask("GET", "/extents").json()]
    assert extents == [
        (0, MIB, True, True), (MIB, 65536, True, False)] + ([
            (1114112, 2031616, True, True), (3 * MIB, 131072, False, False),
            (3276800, 9306112, True, True)] if shallow else [
            (1114112, 196608, False, False), (1310720, 786432, True, True),
            (2 * MIB, 262144, True, False), (2359296, 786432, True, True),
            (3 * MIB, 131072, False, False), (3276800, 7208960, True, True),
            (10 * MIB, 2 * MIB, True, False)])
    layer = data.ask("GET", Range="bytes=1114112-1114115").body
    assert layer == (bytes(4) if shallow else b"\x07" * 4)
    assert data.ask("GET", Range="bytes=%d-%d" % (3 * MIB, 3 * MIB + 3)).body == b"\x09" * 4
    data.close()


def test_cow_serves_the_bytes_of_the_file(start, imageio_kind):
    engine = start(imageio_kind)
    transfer = engine.transfer(engine.disk("chain"), "")
    assert transfer.findtext("format") == "cow"
    data = Data(engine, transfer.findtext("transfer_url"))
    whole = image(engine, "over.qcow2")
    assert data.ask("GET").body == whole
    assert data.ask("GET", "/extents").json() == [
        {"start": 0, "length": len(whole), "zero": False, "hole": False}]
    data.close()


def test_dirty_extents_need_a_backup(cold):
    reply = cold[2].ask("GET", "/extents?context=dirty")
    assert reply.status == 404 and reply.headers["content-type"].startswith("text/plain")
    assert cold[2].ask("GET", "/extents?context=other").status == 400


@pytest.mark.parametrize("query, block", [("?algorithm=sha256&block_size=1048576", MIB),
                                          ("?algorithm=sha256", 4 * MIB)])
def test_the_checksum_is_a_hash_of_hashes_row_8_39(cold, query, block):
    whole = image(cold[0])
    leaves = [hashlib.sha256(whole[i:i + block]).digest() for i in range(0, len(whole), block)]
    assert cold[2].ask("GET", "/checksum" + query).json() == {
        "algorithm": "sha256", "block_size": block,
        "checksum": hashlib.sha256(b"".join(leaves)).hexdigest()}


@pytest.mark.parametrize("query, status", [("block_size=4096", 400), ("block_size=33554432", 400),
                                           ("block_size=1048577", 400), ("block_size=x", 400),
                                           ("algorithm=none", 400), ("algorithm=shake_128", 500)])
def test_checksums_that_are_refused(cold, query, status):
    assert cold[2].ask("GET", "/checksum?" + query).status == status


def test_default_checksum_is_blake2b_of_32_bytes(cold):
    tree = cold[2].ask("GET", "/checksum").json()
    assert tree["algorithm"] == "blake2b" and len(tree["checksum"]) == 64
    assert "sha256" in cold[2].ask("GET", "/checksum/algorithms").json()["algorithms"]


def test_transferred_counts_checksums_and_repeats_once_row_9_9(cold):
    engine, transfer, data = cold

    def transferred():
        time.sleep(0.4)
        return engine.get("/imagetransfers/" + transfer.get("id")).findtext("transferred")
    for _ in range(2):
        data.ask("GET", Range="bytes=4-7")
    assert transferred() == "4"
    data.ask("GET", "/checksum?algorithm=sha256")
    assert transferred() == str(RAW_SIZE)


def test_head_is_refused_with_a_body_row_9_6(cold):
    engine, transfer, data = cold
    data.connection.connect()
    data.connection.sock.sendall(b"HEAD %s HTTP/1.1\r\nhost: x\r\n\r\n" % data.path.encode())
    text = b""
    while b"HEAD" not in text.partition(b"\r\n\r\n")[2]:
        text += data.connection.sock.recv(4096)
    assert text.startswith(b"HTTP/1.1 405 ")


def test_methods_and_paths_that_do_not_exist(cold):
    data = cold[2]
    assert data.ask("POST").status == 405
    assert data.ask("PUT", "/extents").status == 405
    data.path = "/nowhere"
    assert data.ask("GET").status == 404
    data.path = "/images/" + "x" * 5000
    assert data.ask("GET").status == 414


def test_a_reader_may_not_write(cold):
    reply = cold[2].ask("PUT", "")
    assert reply.status in (400, 403)


def test_an_unknown_ticket_is_forbidden_and_ends_the_connection(cold):
    data = cold[2]
    data.path = "/images/unknown"
    reply = data.ask("OPTIONS")
    assert reply.status == 403 and reply.headers["connection"] == "close"
    assert reply.body.endswith(b"\n")


def test_two_requests_may_be_pipelined(cold):
    data = cold[2]
    data.connection.connect()
    one = b"GET %s HTTP/1.1\r\nhost: x\r\nrange: bytes=0-3\r\n\r\n" % data.path.encode()
    data.connection.sock.sendall(one + one)
    text = b""
    while text.count(b"HTTP/1.1 206") < 2:
        text += data.connection.sock.recv(4096)


def test_an_expired_ticket_works_again_after_extend_row_8_23(cold):
    engine, transfer, data = cold
    assert data.ask("OPTIONS").status == 200
    engine.control("/transfer", id=transfer.get("id"), expire_ticket=True)
    reply = data.ask("GET", Range="bytes=0-3")
    assert reply.status == 403 and b"expired" in reply.body
    time.sleep(0.5)  # the engine's own keeping alive must not hide it
    assert data.ask("GET", Range="bytes=0-3").status == 403
    assert engine.act(transfer.get("id"), "extend").status == 200
    assert data.ask("GET", Range="bytes=0-3").status == 206


def test_one_connection_too_many_waits_row_9_8(start, imageio_kind):
    engine = start(imageio_kind, engine={"max_readers": 2})
    url = engine.transfer(engine.disk("cold")).findtext("transfer_url")
    first, second, third = (Data(engine, url) for _ in range(3))
    assert first.ask("OPTIONS").json()["max_readers"] == 2
    assert second.ask("GET", Range="bytes=0-3").status == 206
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(third.ask("OPTIONS").status))
    waiting.start()
    waiting.join(1)
    assert waiting.is_alive() and not answers
    first.close()
    waiting.join(10)
    assert answers == [200]
    second.close()
    third.close()


def test_an_idle_connection_is_closed_in_silence_row_8_22(start, imageio_kind):
    engine = start(imageio_kind)
    transfer = engine.transfer(engine.disk("cold"), "<format>raw</format>"
                               "<inactivity_timeout>1</inactivity_timeout>"
                               "<timeout_policy>pause</timeout_policy>")
    data = Data(engine, transfer.findtext("transfer_url"))
    assert data.ask("OPTIONS").status == 200
    assert data.connection.sock.recv(1) == b""


def test_finalize_makes_the_ticket_invalid(cold):
    engine, transfer, data = cold
    assert data.ask("OPTIONS").status == 200
    assert engine.act(transfer.get("id"), "finalize").status == 200
    engine.await_phase(transfer.get("id"), "finished_success")
    with contextlib.suppress(ConnectionError):
        assert data.ask("OPTIONS").status == 403


def test_a_restarted_daemon_knows_no_tickets(cold):
    engine, transfer, data = cold
    assert data.ask("OPTIONS").status == 200
    before = engine.ready["imageio_url"]
    engine.control("/restart-imageio")
    engine.await_phase(transfer.get("id"), "paused_system")
    assert engine.act(transfer.get("id"), "resume").status == 200
    again = engine.await_phase(transfer.get("id"), "transferring").findtext("transfer_url")
    assert again.startswith(before) and again != transfer.findtext("transfer_url")
    fresh = Data(engine, again)
    assert fresh.ask("GET", Range="bytes=0-3").status == 206
    fresh.close()


def test_an_image_shorter_than_the_disk_is_told_in_the_range(start, imageio_kind):
    engine = start(imageio_kind, vms=[{"name": "a", "disks": [
        {"alias": "long", "image": "raw.img", "provisioned_size": 11 * MIB}]}])
    data = Data(engine, engine.transfer(engine.disk("long")).findtext("transfer_url"))
    reply = data.ask("GET", Range="bytes=0-%d" % (11 * MIB - 1))
    assert reply.status == 416 and reply.headers["content-range"] == "bytes */%d" % RAW_SIZE
    reply = data.ask("GET", Range="bytes=0-9")
    assert reply.headers["content-range"] == "bytes 0-9/%d" % (11 * MIB)
    data.close()


def test_the_host_may_have_a_certificate_of_another_authority_row_8_34(start, imageio_kind,
                                                                       tmp_path):
    make_certificates(tmp_path)
    engine = start(imageio_kind, options=[
        "--imageio-cert", str(tmp_path / "server.pem"), "--imageio-key",
        str(tmp_path / "server.key"), "--internal-ca", str(tmp_path / "ca.pem")])
    transfer = engine.transfer(engine.disk("cold"))
    data = Data(engine, transfer.findtext("transfer_url"))
    with pytest.raises(ssl.SSLCertVerificationError):
        data.ask("OPTIONS")
    handed_out = engine.send("GET", "/ovirt-engine/services/pki-resource"
                             "?resource=ca-certificate&format=X509-PEM-CA").body
    engine.tls = ssl.create_default_context(cadata=handed_out.decode())
    data = Data(engine, transfer.findtext("transfer_url"))
    assert data.ask("OPTIONS").status == 200
    data.close()


def test_stopping_leaves_nothing_behind(start, imageio_kind):
    engine = start(imageio_kind)
    engine.transfer(engine.disk("cold"))
    # The image is in this run's own directory: other engines may serve theirs at the same time.
    own = ["pgrep", "-f", "qemu-nbd.*" + engine.directory]
    serving = subprocess.run(own, stdout=subprocess.PIPE).stdout
    assert bool(serving) == (imageio_kind == "real")
    engine.stop()
    assert not subprocess.run(own, stdout=subprocess.PIPE).stdout
