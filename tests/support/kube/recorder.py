"""Stands between clients and the API server and writes down what they ask it to write, to the byte. (An audit log has
only what the API server understood: a misspelt field is gone by then.) It passes everything on as it comes.

    recorder = Recorder(bed)
    bed.write_kubeconfig("somebody", token=..., url=recorder.url)
    recorder.writes, recorder.warnings
    recorder.cut()                 # as if the network were gone
"""
import json
import re
import select
import socket
import ssl
import threading

WRITES = ("POST", "PUT", "PATCH", "DELETE")
HEAD_END = b"\r\n\r\n"
WARNING = re.compile(rb"\r\n[Ww]arning: ([^\r\n]*)(?=\r\n)")  # in a body a line's end is escaped


class Requests:
    """Reads a client's side of a connection. Complete writes go to `found`."""

    def __init__(self, found):
        self._found, self._buffer, self._head = found, b"", None

    def feed(self, data):
        self._buffer += data
        while True:
            if self._head is None:
                head, end, rest = self._buffer.partition(HEAD_END)
                if not end:
                    return
                self._buffer, self._head = rest, self._parse(head)
            length = self._head["length"]
            if len(self._buffer) < length:
                return
            body, self._buffer = self._buffer[:length], self._buffer[length:]
            head, self._head = self._head, None
            if head["method"] in WRITES:
                self._found({"method": head["method"], "path": head["path"], "type": head["type"],
                             "body": json.loads(body) if body else None})

    @staticmethod
    def _parse(head):
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "transfer-encoding" in headers:
            raise ValueError(f"{first}: a body without a length")
        return {"method": method, "path": path, "type": headers.get("content-type", ""),
                "length": int(headers.get("content-length", 0))}


class Recorder:
    def __init__(self, bed):
        self.bed, self.writes, self.warnings, self.faults = bed, [], [], []
        names = ("DNS:localhost", "IP:127.0.0.1")
        certificate, key = bed.authority.issue("recorder", "/CN=recorder", names)
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.load_cert_chain(str(certificate), str(key))
        self._server.set_alpn_protocols(["http/1.1"])
        self._client = ssl.create_default_context(cafile=str(bed.authority.certificate))
        self._client.set_alpn_protocols(["http/1.1"])
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(0.5)
        self.url = "https://127.0.0.1:%d" % self._listener.getsockname()[1]
        self._stop, self._cut = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self, off=True):
        """Loses the way to the API server, or has it again."""
        (self._cut.set if off else self._cut.clear)()

    def stop(self):
        self._stop.set()
        self._thread.join()
        self._listener.close()

    def _accept(self):
        while not self._stop.is_set():
            try:
                plain, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self._cut.is_set():
                plain.close()
            else:
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        server = client = None
        try:
            server = self._client.wrap_socket(socket.create_connection((self.bed.address, self.bed.port), 10),
                                              server_hostname=self.bed.address)
            plain.settimeout(10)
            client = self._server.wrap_socket(plain, server_side=True)
            self._pump(client, server)
        except OSError:  # either end is gone: so is the other
            pass
        except ValueError as error:
            self.faults.append(str(error))
        for each in (client or plain, server):
            if each is not None:
                each.close()

    def _pump(self, client, server):
        requests, other, tail = Requests(self.writes.append), {client: server, server: client}, b""
        while not (self._stop.is_set() or self._cut.is_set()):
            ready = [each for each in other if each.pending()] or select.select(list(other), [], [], 0.5)[0]
            for each in ready:
                each.settimeout(0)
                try:
                    data = each.recv(1 << 16)
                except ssl.SSLWantReadError:
                    continue
                if not data:
                    return
                if each is client:
                    requests.feed(data)
                else:
                    tail += data
                    self.warnings += [text.decode(errors="replace") for text in WARNING.findall(tail)]
                    # Of a head that is cut in two the first part is kept.
                    tail = tail[tail.rfind(b"\r\n"):][-4096:] if b"\r\n" in tail[-4096:] else b""
                other[each].settimeout(30)
                other[each].sendall(data)
