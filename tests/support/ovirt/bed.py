"""A small bed for the engine's own tests, and a client made of the standard library."""

import http.client
import json
import os
import ssl
import subprocess
import time
import urllib.parse
from xml.etree import ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20
PASSWORD = "correct horse"

# The venv made by install_imageio.sh; what needs it skips without.
VENV = os.environ.get("OVIRT_IMAGEIO_VENV", "")
PYTHON = os.path.join(VENV, "bin", "python") if VENV else ""

FAST = {"initializing_seconds": 0.1, "finalizing_seconds": 0.1, "unlock_seconds": 0.1,
        "monitor_seconds": 0.1, "remove_timeout": 3}


def make_certificates(path):
    """ca.pem, server.pem and server.key for 127.0.0.1."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=path, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=bed-ca", "-days", "30")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    with open(os.path.join(path, "san"), "w", encoding="ascii") as file:
        file.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "30", "-extfile", "san", "-out", "server.pem")
    with open(os.path.join(path, "password"), "w", encoding="utf-8") as file:
        file.write(PASSWORD + "\n")


def make_images(path):
    """raw.img with data, written zeros and holes; over.qcow2 over base.qcow2."""
    with open(os.path.join(path, "raw.img"), "wb") as file:
        file.truncate(10 * MIB + 512)
        for offset, data in ((5 << 16, os.urandom(3 << 16)), (20 << 16, bytes(3 << 16)),
                             (10 * MIB, b"last sector!" + bytes(500))):
            file.seek(offset)
            file.write(data)

    def qemu(*arguments):
        subprocess.run(arguments, cwd=path, check=True, capture_output=True)
    qemu("qemu-img", "create", "-f", "qcow2", "base.qcow2", "10M")
    qemu("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 256k", "-c", "write -z 2M 256k",
         "base.qcow2")
    qemu("qemu-img", "create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "over.qcow2",
         "12M")
    qemu("qemu-io", "-f", "qcow2", "-c", "write -P 9 3M 128k", "-c", "write -z 1M 64k",
         "over.qcow2")


def inventory(engine=None, vms=None, **more):
    """Two machines of the same name in two clusters, and one with every kind of disk."""
    return dict({
        "engine": dict(FAST, **(engine or {})),
        "clusters": ["Default", "Other"],
        "networks": ["ovirtmgmt", {"name": "blue", "vlan": 7, "vnic_profiles": ["fast", "slow"]}],
        "vms": vms or [
            {"name": "web one", "fqdn": "web.test", "status": "up", "shutdown_seconds": 0.3,
             "memory": 1 << 30, "cpu": {"sockets": 2, "cores": 1, "threads": 1},
             "bios_type": "q35_ovmf", "os_type": "rhel_9x64", "tags": ["prod"],
             "extra_xml": "<high_availability><enabled>true</enabled></high_availability>",
             "disks": [{"alias": "boot", "image": "raw.img"},
                       {"alias": "data", "image": "over.qcow2", "format": "cow"}],
             "nics": [{"name": "nic1", "profile": "blue/fast", "mac": "56:6f:00:00:00:01",
                       "ips": ["192.0.2.5"]}, {"name": "nic2", "profile": None}]},
            {"name": "twin", "disks": [
                {"alias": "cold", "image": "raw.img"},
                {"alias": "chain", "image": "over.qcow2", "format": "cow", "snapshots": [
                    {"image": "base.qcow2", "snapshot": "5e4f1b3a-0000-4000-8000-000000000001"}]},
                {"alias": "lun", "storage_type": "lun"},
                {"alias": "broken", "provisioned_size": MIB, "status": "illegal"},
                {"alias": "empty", "provisioned_size": MIB}]},
            {"name": "twin", "cluster": "Other"}]}, **more)


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def xml(self):
        assert self.headers["Content-Type"].startswith("application/xml"), self.body
        return ElementTree.fromstring(self.body)

    def json(self):
        assert self.headers["Content-Type"].startswith("application/json"), self.body
        return json.loads(self.body)


def fault(reply):
    """The detail of a fault, of either shape."""
    tree = reply.xml()
    return (tree if tree.tag == "fault" else tree.find("fault")).findtext("detail")


class Engine:
    """A running engine and an API client that is logged in."""

    def __init__(self, directory, state, kind, python, tree, log_in=True, options=()):
        self.directory = str(directory)
        inventory_path = os.path.join(self.directory, "bed-%d.json" % time.monotonic_ns())
        with open(inventory_path, "w", encoding="utf-8") as file:
            json.dump(tree, file)
        self.marker = os.path.join(str(state), "state-%d" % time.monotonic_ns())
        command = ["/usr/bin/python3", os.path.join(HERE, "engine.py"), "--inventory",
                   inventory_path, "--state", self.marker, "--imageio", kind,
                   "--exit-with-parent"]
        for option, name in (("--cert", "server.pem"), ("--key", "server.key"),
                             ("--ca", "ca.pem"), ("--password-file", "password")):
            command += [option, os.path.join(self.directory, name)]
        if kind == "real":
            command += ["--imageio-python", python]
        self._process = subprocess.Popen(command + list(options), stdout=subprocess.PIPE)
        line = self._process.stdout.readline()
        assert line, "the engine did not start"
        self.ready = json.loads(line)
        self.tls = ssl.create_default_context(cafile=self.ready["ca"])
        self.token = self.login() if log_in else None

    def stop(self):
        """Again is harmless."""
        self._process.terminate()
        assert self._process.wait(30) == 0

    def connect(self, url, timeout=30):
        where = urllib.parse.urlsplit(url)
        return http.client.HTTPSConnection(where.hostname, where.port, timeout=timeout,
                                           context=self.tls)

    def send(self, method, path, body=None, headers=None):
        connection = self.connect(self.ready["url"])
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def sign_on(self, **fields):
        form = dict({"grant_type": "password", "scope": "ovirt-app-api",
                     "username": "admin@internal", "password": PASSWORD}, **fields)
        return self.send("POST", "/ovirt-engine/sso/oauth/token", urllib.parse.urlencode(form),
                         {"Content-Type": "application/x-www-form-urlencoded",
                          "Accept": "application/json"})

    def login(self):
        return self.sign_on().json()["access_token"]

    def api(self, method, path, body=None, json_form=False, **headers):
        """Sends with a token and the usual headers; None as a header's value leaves it out."""
        form = "application/json" if json_form else "application/xml"
        sent = {"Authorization": "Bearer %s" % self.token, "Version": "4", "Accept": form}
        if body is not None:
            sent["Content-Type"] = form
        sent.update({k.replace("_", "-"): v for k, v in headers.items()})
        base = urllib.parse.urlsplit(self.ready["url"]).path
        return self.send(method, path if path.startswith(base) else base + path, body,
                         {k: v for k, v in sent.items() if v is not None})

    def get(self, path, **more):
        reply = self.api("GET", path, **more)
        assert reply.status == 200, (reply.status, reply.body)
        return reply.xml()

    def control(self, path, **tree):
        where = urllib.parse.urlsplit(self.ready["control"])
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
        connection.request("GET" if path == "/state" else "POST", path, json.dumps(tree))
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        assert answer.status == 200, body
        return body

    def vm(self, name, index=0):
        return [v for v in self.ready["vms"] if v["name"] == name][index]

    def disk(self, alias):
        return next(d["id"] for v in self.ready["vms"] for d in v["disks"] if d["alias"] == alias)

    def ask_transfer(self, disk, extra="<format>raw</format>",
                     direction="<direction>download</direction>"):
        return self.api("POST", "/imagetransfers", '<image_transfer><disk id="%s"/>%s%s'
                        "</image_transfer>" % (disk, direction, extra))

    def transfer(self, disk, extra="<format>raw</format>"):
        """A transfer that is ready: its Element."""
        reply = self.ask_transfer(disk, extra)
        assert reply.status == 201, reply.body
        return self.await_phase(reply.xml().get("id"), "transferring")

    def await_phase(self, transfer_id, phase, seconds=15):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            tree = self.get("/imagetransfers/" + transfer_id)
            if tree.findtext("phase") == phase:
                return tree
            time.sleep(0.02)
        raise AssertionError("phase is %s, not %s" % (tree.findtext("phase"), phase))

    def await_disk(self, disk, status, seconds=10):
        deadline = time.monotonic() + seconds
        while self.get("/disks/" + disk).findtext("status") != status:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def act(self, transfer_id, action):
        return self.api("POST", "/imagetransfers/%s/%s" % (transfer_id, action), "<action/>")


class Data:
    """A keep-alive connection to one transfer."""

    def __init__(self, engine, url, timeout=20):
        self.path = urllib.parse.urlsplit(url).path
        self.connection = engine.connect(url, timeout)

    def ask(self, method, below="", **headers):
        self.connection.request(method, self.path + below, None, headers)
        answer = self.connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())

    def close(self):
        self.connection.close()
