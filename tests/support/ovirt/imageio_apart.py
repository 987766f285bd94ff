"""A host in a process of its own (host.py), as the engine sees it; see imageio_api.py."""

import json
import os
import socket

from imageio_api import ImageioError


class HostApart:
    """Each call asks the host anew: it may be dead, and alive again at the same address."""

    kind = "real"

    def __init__(self, path):
        self._path = path
        self._port = None

    def start(self):
        self._port = self._ask("port")

    def stop(self):
        """The host goes on without an engine."""

    def restart(self):
        raise ImageioError("the host is another process")

    def url(self, host):
        return "https://%s:%d" % (host or "127.0.0.1", self._port)

    def proxy_url(self):
        return self.url(None)

    def serve_guest_view(self, _nbd, image, image_format, shallow, size):
        made = self._ask("serve", image, image_format, shallow)
        return self.server(made["server"]), made["url"], size

    def serve_file(self, image):
        return None, "file://" + image, os.path.getsize(image)

    def server(self, path):
        """The server with that socket, also one that an earlier engine started."""
        return _Server(self, path)

    def add(self, ticket):
        self._ask("add", ticket)

    def info(self, ticket_id):
        try:
            return self._ask("info", ticket_id)
        except ImageioError:
            return None

    def extend(self, ticket_id, seconds):
        try:
            self._ask("extend", ticket_id, seconds)
        except ImageioError:
            pass  # the monitor notices that the host is gone

    def remove(self, ticket_id):
        try:
            return self._ask("remove", ticket_id)
        except ImageioError:
            return True  # a host that is gone has no tickets

    def usage(self, _transfer_id):
        return None

    def stop_server(self, path):
        try:
            self._ask("stop_server", path)
        except ImageioError:
            pass  # it went with its host

    def _ask(self, call, *words):
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(60)
                link.connect(self._path)
                link.sendall(json.dumps({"call": call, "with": words}).encode() + b"\n")
                with link.makefile("rb") as lines:
                    answer = json.loads(lines.readline())
        except (OSError, ValueError) as error:
            raise ImageioError("the host does not answer: %s" % error) from None
        if "error" in answer:
            raise ImageioError(answer["error"])
        return answer["answer"]


class _Server:
    def __init__(self, host, path):
        self._host, self.path = host, path

    def stop(self):
        self._host.stop_server(self.path)
