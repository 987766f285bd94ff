"""The real ovirt-imageio daemon, run from a venv."""

import http.client
import json
import os
import socket
import time

import processes
from imageio_api import ImageioError

_CONFIG = """\
[daemon]
poll_interval = 0.1
max_connections = {max_readers}
run_dir = {runtime}
drop_privileges = false
systemd_enable = false

[tls]
enable = true
key_file = {key}
cert_file = {cert}
ca_file = {ca}

[remote]
host = 127.0.0.1
port = {port}

[local]
enable = false

[control]
transport = unix
socket = {control}
remove_timeout = {remove_timeout}

[handlers]
keys = stderr

[logger_root]
level = INFO
handlers = stderr
"""


class RealImageio:
    """Starts and controls one daemon. start() and restart() belong to the main thread."""

    kind = "real"

    def __init__(self, python, tls, settings, runtime_dir, state_dir, name="imageio",
                 port=0):
        self._command = [python, os.path.join(os.path.dirname(python), "ovirt-imageio")]
        self._log_path = os.path.join(state_dir, name + ".log")
        self._conf_dir = os.path.join(state_dir, name)
        self._control = os.path.join(runtime_dir, name + ".sock")
        self._values = {"max_readers": settings["max_readers"], "runtime": runtime_dir,
                        "remove_timeout": settings["remove_timeout"], "control": self._control,
                        "cert": tls.cert, "key": tls.key, "ca": tls.ca}
        self._process = None
        self.port = port

    @staticmethod
    def is_usable(python):
        """Is there a daemon beside that interpreter?"""
        return bool(python) and os.path.exists(os.path.join(os.path.dirname(python),
                                                            "ovirt-imageio"))

    def start(self):
        # The daemon cannot tell a port it chose itself; another program may take ours
        # between the probe and the start, so try a few times.
        chosen = self.port
        for _ in range(5):
            self.port = chosen or _free_port()
            if self._launch():
                return
        raise ImageioError("ovirt-imageio did not start; see " + self._log_path)

    def _launch(self):
        os.makedirs(os.path.join(self._conf_dir, "conf.d"), exist_ok=True)
        config = _CONFIG.format(port=self.port, **self._values)
        with open(os.path.join(self._conf_dir, "conf.d", "50-bed.conf"), "w",
                  encoding="utf-8") as file:
            file.write(config)
        if os.path.exists(self._control):
            os.unlink(self._control)
        with open(self._log_path, "ab") as log:
            self._process = processes.spawn(self._command + ["-c", self._conf_dir], log)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self._ask("GET", "/tickets/none")[0] == 404:
                    return True
            except ImageioError:
                time.sleep(0.05)
        processes.end(self._process)
        return False

    def restart(self):
        processes.end(self._process)
        if not self._launch():
            raise ImageioError("ovirt-imageio did not start again; see " + self._log_path)

    def stop(self):
        if self._process is not None:
            processes.end(self._process)

    def url(self, host):
        return "https://%s:%d" % (host or "127.0.0.1", self.port)

    def proxy_url(self):
        return self.url(None)

    def serve_guest_view(self, nbd, image, image_format, shallow, size):
        server = nbd.serve(image, image_format, shallow)
        return server, server.url(), size

    def serve_file(self, image):
        return None, "file://" + image, os.path.getsize(image)

    def add(self, ticket):
        status, body = self._ask("PUT", "/tickets/" + ticket["uuid"], ticket)
        if status != 200:
            raise ImageioError("the daemon refused the ticket: " + body.decode(errors="replace"))

    def info(self, ticket_id):
        try:
            status, body = self._ask("GET", "/tickets/" + ticket_id)
        except ImageioError:
            return None
        return json.loads(body) if status == 200 else None

    def extend(self, ticket_id, seconds):
        try:
            self._ask("PATCH", "/tickets/" + ticket_id, {"timeout": int(seconds)})
        except ImageioError:
            pass  # the monitor notices that the daemon is gone

    def remove(self, ticket_id):
        try:
            return self._ask("DELETE", "/tickets/" + ticket_id)[0] != 409
        except ImageioError:
            return True  # a daemon that is gone has no tickets

    def usage(self, _transfer_id):
        return None  # the daemon does not tell; its log in the state directory does

    def _ask(self, method, path, tree=None):
        connection = _UnixConnection(self._control, self._values["remove_timeout"] + 10)
        try:
            connection.request(method, path, None if tree is None else json.dumps(tree))
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ImageioError("ovirt-imageio does not answer: %s" % error) from None
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
