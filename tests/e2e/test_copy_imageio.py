"""`vmferry copy` by itself from the real ovirt-imageio daemon, over TLS."""
import hashlib
import json
import os
import subprocess
import sys
import types

import pytest

import bed
import peers

sys.path.insert(0, str(peers.SUPPORT / "ovirt"))
import imageio_real

CHUNK = 1 << 20


@pytest.fixture
def daemon(tmp_path):
    python = peers.imageio_python()
    if python is None or not imageio_real.RealImageio.is_usable(str(python)):
        pytest.skip("no ovirt-imageio: set OVIRT_IMAGEIO_VENV")
    if not os.access(bed.vmferry_program(), os.X_OK):
        pytest.skip(f"{bed.vmferry_program()} is not built")
    pki = peers.make_pki(tmp_path / "pki", "server")
    tls = types.SimpleNamespace(cert=str(pki / "server.pem"), key=str(pki / "server.key"), ca=str(pki / "ca.pem"))
    runtime = tmp_path / "run"
    runtime.mkdir()
    made = imageio_real.RealImageio(str(python), tls, {"max_readers": 4, "remove_timeout": 10}, str(runtime),
                                    str(tmp_path))
    made.start()
    made.ca = tls.ca
    try:
        yield made
    finally:
        made.stop()


def offer(daemon, image, name):
    daemon.add({"uuid": name, "url": "file://" + str(image), "size": image.stat().st_size, "timeout": 600,
                "ops": ["read"], "sparse": True, "dirty": False})
    return daemon.url("localhost") + "/images/" + name


def copy(daemon, url, target, *more):
    command = [bed.vmferry_program(), "copy", "--imageio", url, target, "--cacert", daemon.ca, "--json", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def leaf_root(content):
    root = hashlib.sha256()
    for start in range(0, len(content), CHUNK):
        root.update(hashlib.sha256(content[start:start + CHUNK]).digest())
    return "sha256:" + root.hexdigest()


def test_disks_of_odd_sizes_are_equal_and_so_are_both_digests(daemon, tmp_path):
    for number, size in enumerate([512, CHUNK - 512, CHUNK + 512, 9 * CHUNK + 4096]):
        image = tmp_path / f"disk-{number}.img"
        with open(image, "wb") as out:
            out.truncate(size)
            out.write(os.urandom(min(size, 3 * CHUNK)))  # what follows is a hole
        outcome = copy(daemon, offer(daemon, image, f"ticket-{number}"), tmp_path / "target.img", "--compare-source")
        assert outcome.returncode == 0, outcome.stderr
        figures = json.loads(outcome.stdout)
        content = image.read_bytes()
        assert (tmp_path / "target.img").read_bytes() == content
        assert figures["digest"] == leaf_root(content)
        assert figures["verified"] and figures["source_digest_matched"]
        assert figures["bytes_virtual"] == size


def test_a_disk_that_changes_while_it_is_copied_is_told_by_the_servers_digest(daemon, tmp_path):
    image = tmp_path / "disk.img"
    image.write_bytes(os.urandom(24 * CHUNK))
    url = offer(daemon, image, "ticket")
    command = [bed.vmferry_program(), "copy", "--imageio", url, tmp_path / "target.img", "--cacert", daemon.ca,
               "--compare-source", "--limit", "8M"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        # What is on the target was read before the change, whichever part it is.
        while not (tmp_path / "target.img").exists() or (tmp_path / "target.img").stat().st_blocks == 0:
            assert running.poll() is None
        with open(image, "r+b") as out:
            for chunk in range(24):
                out.seek(chunk * CHUNK + 100)
                out.write(b"changed")
        _, text = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "VMF-XFER-VERIFY-FAILED" in text
    assert "digest" in text


def test_a_ticket_that_is_not_there_is_refused(daemon, tmp_path):
    outcome = copy(daemon, daemon.url("localhost") + "/images/none", tmp_path / "target.img")
    assert outcome.returncode == 1
    assert "VMF-XFER-TICKET-EXPIRED" in outcome.stderr
    assert "images/none" not in outcome.stderr, "the ticket is a secret"
    assert not (tmp_path / "target.img").exists()
