#!/usr/bin/python3
"""An HTTP/1.1 server of one file that misbehaves in one chosen way.

lying_http_server.py --file DISK [--tls CERT KEY] prints its port and serves on 127.0.0.1:
  /files/MODE/NAME   ranges of the file, as a datastore does; NAME may end in .vmdk (see --directory)
  /images/MODE       the ovirt-imageio protocol for the file
  /stats             JSON: requests so far, most connections at once, per kind counts
MODE is one of the functions below, or several joined by "+"; "ok" tells the truth.
"""
import argparse
import hashlib
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCK = threading.Lock()
STATS = {"requests": [], "connections": 0, "most_connections": 0, "total_connections": 0}
SEEN = {}
HUGE = 1 << 40  # what an image in mode "huge" claims to be: one block of data, then a hole


def first_time(key, times=1):
    """True for the first calls with that key."""
    with LOCK:
        SEEN[key] = SEEN.get(key, 0) + 1
        return SEEN[key] <= times


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    data = b""
    path_of_data = ""
    directory = ""

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        with LOCK:
            STATS["connections"] += 1
            STATS["total_connections"] += 1
            STATS["most_connections"] = max(STATS["most_connections"], STATS["connections"])

    def finish(self):
        with LOCK:
            STATS["connections"] -= 1
        try:
            super().finish()
        except OSError:
            pass

    # -- answers -----------------------------------------------------------------------------------

    def answer(self, status, body=b"", headers=None, head=False):
        self.send_response(status)
        headers = dict(headers or {})
        headers.setdefault("Content-Length", str(len(body)))
        for name, values in headers.items():
            for value in values if isinstance(values, list) else [values]:
                if value is not None:
                    self.send_header(name, value)
        self.end_headers()
        if not head:
            self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def do_HEAD(self):
        self.handle_any("HEAD")

    def do_GET(self):
        self.handle_any("GET")

    def do_OPTIONS(self):
        self.handle_any("OPTIONS")

    def handle_any(self, method):
        path, _, query = self.path.partition("?")
        if path == "/stats":
            with LOCK:
                body = json.dumps(STATS).encode()
            return self.answer(200, body)
        with LOCK:
            STATS["requests"].append({"method": method, "path": self.path,
                                      "range": self.headers.get("Range"),
                                      "cookie": self.headers.get("Cookie")})
        parts = path.strip("/").split("/")
        if len(parts) < 2 or parts[0] not in ("files", "images"):
            return self.answer(404, b"no such path\n")
        modes = parts[1].split("+")
        if "reread" in modes:  # the file as it is by now
            with open(self.path_of_data, "rb") as stream:
                self.data = stream.read()
        if parts[0] == "images":
            return self.image(method, modes, parts[2:], query)
        return self.file(method, modes, parts[-1])

    # -- a plain file ------------------------------------------------------------------------------

    def content_of(self, name):
        if self.directory:
            name = name.replace("%20", " ")
            path = os.path.join(self.directory, os.path.basename(name))
            if not os.path.exists(path):
                return None
            with open(path, "rb") as stream:
                return stream.read()
        return self.data

    def file(self, method, modes, name):
        data = self.content_of(name)
        if data is None or "missing" in modes:
            return self.answer(404, b"no such file\n")
        if "cookie" in modes and self.headers.get("Cookie") != "session=new":
            return self.answer(401, b"log in\n")
        etag = '"one"'
        if "etag" in modes and method == "GET":
            etag = '"two"'
        common = {"ETag": etag, "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Accept-Ranges": "bytes"}
        if "weaketag" in modes:
            common["ETag"] = "W/" + etag
        elif "noetag" in modes or "remodified" in modes:
            del common["ETag"]
        if "remodified" in modes and method == "GET" and self.headers.get("Range") != "bytes=0-0":
            common["Last-Modified"] = "Thu, 01 Jan 2026 00:00:07 GMT"
        if "anonymous" in modes:
            common = {"Accept-Ranges": "bytes"}
        if method == "HEAD":
            if "head405" in modes:
                # With a body, as imageio does: keep-alive clients lose step.
                self.send_response(405)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"no!\n")
                return None
            size = len(data) + (512 if "headsize" in modes else 0)
            return self.answer(200, headers={**common, "Content-Length": str(size)}, head=True)
        return self.ranges(modes, data, common)

    def ranges(self, modes, data, common):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if not wanted or "ignorerange" in modes:
            return self.whole(modes, data, common, bool(wanted))
        first, last = int(wanted[1]), int(wanted[2])
        if first > last or last >= len(data) or "r416" in modes:
            return self.answer(416, b"", {**common, "Content-Range": f"bytes */{len(data)}"})
        key = (tuple(modes), self.headers.get("Range"))
        for status in (400, 403, 500, 503):
            if f"s{status}" in modes or (f"s{status}twice" in modes and first_time(key, 2)):
                return self.answer(status, b"Requested 1 bytes, got 0\n" if status == 400 else b"not now\n")
        body = data[first:last + 1]
        total = str(HUGE if "huge" in modes else len(data))
        headers = {**common, "Content-Range": f"bytes {first}-{last}/{total}"}
        if "shifted" in modes:
            body = data[first + 1:last + 1] + b"x"
            headers["Content-Range"] = f"bytes {first + 1}-{last + 1}/{len(data) + 1}"
        if "shiftedonce" in modes and first_time(key):
            headers["Content-Range"] = f"bytes {first + 512}-{last + 512}/{total}"
        if "shorter" in modes and len(body) > 1:
            body = body[:-1]
            headers["Content-Range"] = f"bytes {first}-{last - 1}/{total}"
        if "tworanges" in modes:
            headers["Content-Range"] = [f"bytes {first + 512}-{last + 512}/{total}",
                                        f"bytes {first}-{last}/{total}"]
        if "twolengths" in modes:
            headers["Content-Length"] = [str(len(body) + 1), str(len(body))]
        if "grown" in modes and first > 0:
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data) + 512}"
        if "nocontentrange" in modes:
            headers["Content-Range"] = None
        if "garbagerange" in modes:
            headers["Content-Range"] = "bytes zero-one/many"
        if "gzip" in modes:
            headers["Content-Encoding"] = "gzip"
        if "wronglength" in modes:
            headers["Content-Length"] = str(len(body) - 1)
            body = body[:-1]
        if "toolong" in modes:
            headers["Content-Length"] = str(len(body) + 1)
            body += b"x"
        if "chunkedlong" in modes:
            return self.chunked(206, body + b"x" * 4096, headers)
        if "truncate" in modes and len(body) > 65536 and first_time(key):
            return self.truncated(206, body, headers, len(body) // 2)
        if "cut100k" in modes and len(body) > 100_000:
            return self.truncated(206, body, headers, 100_000)
        if "endlessbyte" in modes and len(body) == 1:
            return self.endless(206, headers)
        if ("hanghalf" in modes and len(body) > 65536 and first >= len(data) // 2
                and os.path.exists(self.path_of_data + ".hang")):
            return time.sleep(60)
        if "alwaystruncate" in modes and len(body) > 1:
            return self.truncated(206, body, headers, 1)
        if "hang" in modes and len(body) > 1:
            return time.sleep(60)
        if "drip" in modes and len(body) > 1:
            return self.drip(206, body, headers)
        if "closeshort" in modes and len(body) > 1:
            return self.until_closed(206, body[:len(body) // 2], headers)
        if "closewhole" in modes:
            return self.until_closed(206, body, headers)
        if "idleclose" in modes:
            self.answer(206, body, headers)
            return self.hang_up()
        return self.answer(206, body, headers)

    def whole(self, modes, data, common, asked_for_range):
        """A server without ranges; its lies begin with the request that has no Range."""
        if asked_for_range:
            return self.answer(200, data, {**common, "ETag": '"one"'})
        key = (tuple(modes), "whole")
        for status in (403, 503):
            if f"s{status}" in modes or (f"s{status}twice" in modes and first_time(key, 2)):
                return self.answer(status, b"not now\n")
        if "hang" in modes:
            return time.sleep(60)
        if "grown" in modes:
            data = data + b"x" * 512
        if "gzip" in modes:
            common = {**common, "Content-Encoding": "gzip"}
        if "otheragain" in modes and not first_time((key, "other")):
            data = bytes([data[0] ^ 1]) + data[1:]
        if "alwaystruncate" in modes or ("truncate" in modes and first_time(key)):
            return self.truncated(200, data, common, 0 if "alwaystruncate" in modes else len(data) // 2)
        return self.answer(200, data, common)

    def chunked(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")

    def endless(self, status, headers):
        """Bytes without an end, until the client has had enough."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(bytes(4096))
        except OSError:
            pass

    def until_closed(self, status, body, headers):
        """Without a Content-Length: the body ends where the connection does, which TLS is not told."""
        self.truncated(status, body, {**headers, "Connection": "close"}, len(body), length_told=False)

    def drip(self, status, body, headers):
        """A byte now and then: the connection lives, and the body never comes to its end."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        for byte in body[:300]:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.2)

    def truncated(self, status, body, headers, length, length_told=True):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length_told:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:length])
        self.wfile.flush()
        self.hang_up()

    # -- imageio -----------------------------------------------------------------------------------

    def image(self, method, modes, rest, query):
        if "expired" in modes:
            return self.answer(403, b"ticket expired\n", {"Connection": "close"})
        if method == "OPTIONS":
            if "options500" in modes:
                return self.answer(500, b"no backend\n")
            if "options405" in modes:
                return self.answer(405, b"not allowed\n")
            if "options204" in modes:
                return self.answer(204, headers={"Content-Length": None})
            if "optionstext" in modes:
                return self.answer(200, b"hello")
            options = {"unix_socket": "\0/org/ovirt/imageio", "features": ["checksum", "extents"],
                       "max_readers": 8, "max_writers": 8}
            if "nomaxreaders" in modes:
                del options["max_readers"]
            if "readers2" in modes:
                options["max_readers"] = 2
            return self.answer(200, json.dumps(options).encode())
        if method != "GET":
            return self.answer(405, b"not allowed\n")
        if rest == ["extents"]:
            return self.extents(modes)
        if rest == ["checksum"] and "hangchecksum" in modes:
            return time.sleep(60)
        if rest == ["checksum"] and "losechecksum" in modes and first_time((tuple(modes), "checksum"), 4):
            return self.hang_up()
        if rest == ["checksum"]:
            return (self.answer(500, b"no such algorithm\n") if "nochecksum" in modes
                    else self.checksum(query, "wrongchecksum" in modes))
        return self.ranges(modes, self.data, {"Content-Type": "application/octet-stream"})

    def extents(self, modes):
        if "slowextents" in modes:
            time.sleep(2)
        if "hangextents" in modes:
            return time.sleep(60)
        block = 65536
        if "huge" in modes:
            tree = [{"start": 0, "length": block, "zero": False, "hole": False},
                    {"start": block, "length": HUGE - block, "zero": True, "hole": True}]
            return self.answer(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        extents = []
        for start in range(0, len(self.data), block):
            piece = self.data[start:start + block]
            zero = not any(piece)
            if extents and extents[-1]["zero"] == zero:
                extents[-1]["length"] += len(piece)
            else:
                extents.append({"start": start, "length": len(piece), "zero": zero, "hole": zero})
        if "nohole" in modes:
            for extent in extents:
                del extent["hole"]
        if "gap" in modes:
            extents[-1]["start"] += 512
            extents[-1]["length"] -= 512
        if "overlap" in modes:
            extents[-1]["start"] -= 512
        if "shortend" in modes:  # an extent of no length would be another lie
            if extents[-1]["length"] > 512:
                extents[-1]["length"] -= 512
            else:
                extents.pop()
        self.answer(200, json.dumps(extents).encode(), {"Content-Type": "application/json"})

    def checksum(self, query, wrong):
        if query != "algorithm=sha256&block_size=1048576":
            return self.answer(400, b"bad parameters\n")
        root = hashlib.sha256()
        for start in range(0, len(self.data), 1 << 20):
            root.update(hashlib.sha256(self.data[start:start + (1 << 20)]).digest())
        if wrong:
            root.update(b"x")
        return self.answer(200, json.dumps({"algorithm": "sha256", "block_size": 1 << 20,
                                            "checksum": root.hexdigest()}).encode())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--file")
    parser.add_argument("--directory", default="")
    parser.add_argument("--port-file", required=True)
    parser.add_argument("--tls", nargs=2)
    arguments = parser.parse_args()
    if arguments.file:
        Handler.path_of_data = arguments.file
        with open(arguments.file, "rb") as stream:
            Handler.data = stream.read()
    Handler.directory = arguments.directory
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if arguments.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with open(arguments.port_file + ".new", "w", encoding="ascii") as stream:
        stream.write(str(server.server_address[1]))
    os.rename(arguments.port_file + ".new", arguments.port_file)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
