"""Starts vcsim-bed and talks raw SOAP and HTTP to it; the standard library is enough."""
import hashlib
import http.client
import json
import os
import pathlib
import signal
import ssl
import subprocess
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET

HERE = pathlib.Path(__file__).resolve().parent
USER, PASSWORD = "administrator@vsphere.local", "pw!"
WEB_UUID = "4210a0b1-c2d3-e4f5-0617-2839405a6b7c"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}type"
VIM = "{urn:vim25}"


class Fault(Exception):
    def __init__(self, status, kind, text, detail):
        super().__init__(f"HTTP {status} {kind}: {text}")
        self.status, self.kind, self.detail = status, kind, detail


class Client:
    """One connection to the bed."""

    def __init__(self, bed, login=True):
        self.url = urllib.parse.urlsplit(bed.ready["url"])
        self.connection = http.client.HTTPSConnection(self.url.hostname, self.url.port, timeout=20,
                                                      context=ssl.create_default_context(cafile=str(bed.pki / "ca.pem")))
        self.cookie = None
        if login:
            self.login()

    def call(self, body):
        """Sends the request element; answers with the response element."""
        envelope = ('<?xml version="1.0"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
                    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
                    f"<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>")
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": "urn:vim25/6.5"}
        if self.cookie:
            headers["Cookie"] = self.cookie
        self.connection.request("POST", "/sdk", envelope, headers)
        response = self.connection.getresponse()
        data = response.read()
        if set_cookie := response.getheader("Set-Cookie"):
            self.set_cookie, self.cookie = set_cookie, set_cookie.split(";")[0]
        if response.getheader("Content-Type", "").startswith("text/html"):
            raise Fault(response.status, None, data.decode(), None)
        answer = ET.fromstring(data)[0][0]
        if response.status != 200:
            detail = answer.find("detail")[0]
            raise Fault(response.status, detail.get(XSI), answer.findtext("faultstring"), detail)
        return answer

    def login(self, password=PASSWORD):
        return self.call(f'<Login xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this>'
                         f"<userName>{USER}</userName><password>{password}</password></Login>")

    def this(self, method, kind, value, rest=""):
        return self.call(f'<{method} xmlns="urn:vim25"><_this type="{kind}">{value}</_this>{rest}</{method}>')

    def properties(self, moref, *paths, kind="VirtualMachine"):
        """path -> the element `val`."""
        answer = self.this("RetrievePropertiesEx", "PropertyCollector", "propertyCollector",
                           f"<specSet><propSet><type>{kind}</type>" + "".join(f"<pathSet>{p}</pathSet>" for p in paths) +
                           f'</propSet><objectSet><obj type="{kind}">{moref}</obj></objectSet></specSet><options/>')
        return {p.findtext(VIM + "name"): p.find(VIM + "val") for p in answer.iter(VIM + "propSet")}

    def power_state(self, moref):
        return self.properties(moref, "runtime.powerState")["runtime.powerState"].text

    def wait_task(self, answer):
        task = answer.findtext(VIM + "returnval")
        for _ in range(100):
            info = self.properties(task, "info", kind="Task")["info"]
            if info.findtext(VIM + "state") in ("success", "error"):
                return info
            time.sleep(0.05)
        raise AssertionError("the task never ends")

    def folder(self, path, method="GET", read=True, **headers):
        if self.cookie:
            headers["Cookie"] = self.cookie
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        query = urllib.parse.urlencode({"dcPath": "DC0", "dsName": "LocalDS_0"})
        self.connection.request(method, f"/folder/{urllib.parse.quote(path)}?{query}", headers=headers)
        response = self.connection.getresponse()
        return (response, response.read()) if read else (response, None)


class Bed:
    def __init__(self, directory, inventory, *options):
        self.pki, self.state = directory / "pki", directory / f"state-{time.monotonic_ns()}"
        subprocess.run([HERE.parent / "pki.sh", self.pki, "vcenter"], check=True)
        (directory / "password").write_text(PASSWORD + "\n")
        (directory / "bed.json").write_text(json.dumps(inventory))
        self.command = [os.environ["VCSIM_BED"], "--cert", self.pki / "vcenter.pem", "--key", self.pki / "vcenter.key",
                        "--user", USER, "--password-file", directory / "password", "--inventory", directory / "bed.json",
                        "--state", self.state, "--pid-with-parent", *options]
        begin = time.monotonic()
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE)
        self.ready = json.loads(self.process.stdout.readline())
        self.start_seconds = time.monotonic() - begin
        self.vms = {vm["name"]: vm for vm in self.ready["vms"]}

    def control(self, route, value=None):
        data = None if value is None else json.dumps(value).encode()
        with urllib.request.urlopen(self.ready["control"] + route, data, timeout=20) as answer:
            return json.load(answer)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0
        assert not self.state.exists()


def image(directory):
    """9 MiB, mostly hole, data in the first, a middle and the last sector."""
    path = directory / "image.raw"
    with path.open("wb") as file:
        for offset in (0, 5 << 20, (9 << 20) - 512):
            file.seek(offset)
            file.write(hashlib.shake_128(str(offset).encode()).digest(512))
    return path
