"""The row "imageio": the real daemon over TLS, read by us and by the official client.

OVIRT_IMAGEIO_VENV (else build/venv) is a venv with the package ovirt-imageio; see
tests/support/ovirt/install_imageio.sh. When its client cannot run here, the peer is one synchronous
GET loop, as CDI's importer does it, and the bar is higher.
"""
import os
import subprocess
import sys
import types

import rows as r

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support", "ovirt"))
import imageio_real  # noqa: E402
from imageio_api import ImageioError  # noqa: E402

WORKERS = 4

OFFICIAL_CLIENT = """
import os, sys
from ovirt_imageio import client
url, target, ca, workers = sys.argv[1:]
client.download(url, target, ca, fmt="raw", max_workers=int(workers))
fd = os.open(target, os.O_RDWR)
os.fsync(fd)
"""

# One connection, one request at a time, each read to its end before it is written.
GET_LOOP = """
import http.client, os, ssl, sys
from urllib.parse import urlparse
url, target, ca, size = sys.argv[1:]
size = int(size)
parts = urlparse(url)
connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=ssl.create_default_context(cafile=ca))
step = 8 << 20
with open(target, "wb", buffering=0) as out:
    for offset in range(0, size, step):
        last = min(size, offset + step) - 1
        connection.request("GET", parts.path, headers={"Range": "bytes=%d-%d" % (offset, last)})
        answer = connection.getresponse()
        if answer.status != 206:
            raise SystemExit("HTTP %d" % answer.status)
        out.write(answer.read())
    os.fsync(out.fileno())
"""


def venv_python():
    here = os.path.dirname(os.path.abspath(__file__))
    venv = os.environ.get("OVIRT_IMAGEIO_VENV") or os.path.join(here, "..", "build", "venv")
    return os.path.join(os.path.abspath(venv), "bin", "python")


def client_runs(python):
    """The official client writes through qemu-nbd."""
    asked = subprocess.run([python, "-c", "from ovirt_imageio import client; client.download"], capture_output=True)
    there = subprocess.run(["sh", "-c", "command -v qemu-nbd && command -v qemu-img"], capture_output=True)
    return asked.returncode == 0 and there.returncode == 0


def run(bench):
    python = venv_python()
    if not imageio_real.RealImageio.is_usable(python):
        raise RuntimeError("no ovirt-imageio beside %s: set OVIRT_IMAGEIO_VENV" % python)
    ca = os.path.join(bench.pki, "ca-cert.pem")
    tls = types.SimpleNamespace(cert=os.path.join(bench.pki, "server-cert.pem"),
                                key=os.path.join(bench.pki, "server-key.pem"), ca=ca)
    with r.temporary(bench.folder) as folder:
        daemon = imageio_real.RealImageio(python, tls, {"max_readers": 8, "remove_timeout": 10}, folder, folder)
        try:
            daemon.start()
            ticket = {"uuid": "bench-ticket", "url": "file://" + bench.source, "size": bench.size, "timeout": 36000,
                      "ops": ["read"], "sparse": True, "dirty": False}
            daemon.add(ticket)
            url = daemon.url("localhost") + "/images/" + ticket["uuid"]
            time_pairs(bench, python, url, ca)
        except ImageioError as failure:
            raise RuntimeError(str(failure)) from None
        finally:
            daemon.stop()


def time_pairs(bench, python, url, ca):
    def ours():
        return bench.ours(url, "--imageio", "--cacert", ca)

    if client_runs(python):
        def peer():
            return r.run([python, "-c", OFFICIAL_CLIENT, url, bench.fresh(), ca, str(WORKERS)])
        bench.compare("imageio", "imageio client, %d workers" % WORKERS, ours, peer, 1.3)
    else:
        def peer():
            return r.run([sys.executable, "-c", GET_LOOP, url, bench.fresh(), ca, str(bench.size)])
        bench.compare("imageio", "one GET loop", ours, peer, 3.0)
