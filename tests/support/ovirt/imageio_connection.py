"""One client connection of the builtin imageio: parses requests, answers in order."""

import hashlib
import http.server
import itertools
import json
import re
import socket
import struct
import time
import urllib.parse

from imageio_tickets import Canceled, Denied

# A connection has this long to say something with a valid ticket; then the ticket decides.
UNAUTHORIZED_SECONDS = 60
_MAX_REQUEST_LINE = 4096
_READ_BYTES = 8 << 20
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_ROUTES = [(re.compile(pattern), name) for pattern, name in (
    (r"/images/(.*)/extents", "extents"),
    (r"/images/(.*)/checksum/algorithms", "algorithms"),
    (r"/images/(.*)/checksum", "checksum"),
    (r"/images/(.*)", "image"))]
_MIN_BLOCK, _MAX_BLOCK, _DEFAULT_BLOCK = 1 << 20, 16 << 20, 4 << 20
_ids = itertools.count(1)


class _Answer(Exception):
    """An error answer: status, one line of text, extra headers."""

    def __init__(self, status, text, headers=None):
        super().__init__(text)
        self.status = status
        self.headers = headers or {}


class Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "imageio/2.5.1"
    sys_version = ""

    def setup(self):
        super().setup()
        self._reader = next(_ids)
        self._imageio = self.server.imageio
        self._tickets = self._imageio.tickets

    def finish(self):
        self._tickets.leave(self._reader)
        try:
            super().finish()
        except OSError:
            pass  # the client left first

    def log_message(self, format, *args):
        """The engine's control endpoint tells what happened; no log here."""

    def handle_one_request(self):
        self.close_connection = True
        try:
            self.raw_requestline = self.rfile.readline(_MAX_REQUEST_LINE + 1)
            if len(self.raw_requestline) > _MAX_REQUEST_LINE:
                self.requestline = self.request_version = self.command = ""
                self.send_error(414)
                return
            if self.raw_requestline and self.parse_request():
                self._dispatch()
        except OSError:
            self.close_connection = True  # idle for too long, or the client left

    def _dispatch(self):
        path, _, query = self.path.partition("?")
        self._query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        length = self.headers.get("content-length", "0")
        body = self.rfile.read(min(int(length), 1 << 20)) if length.isdigit() else b""
        try:
            self._route(urllib.parse.unquote(path), body)
        except _Answer as error:
            self._send(error.status, (str(error) + "\n").encode(),
                       dict(error.headers, **{"content-type": "text/plain; charset=UTF-8"}))
        except (Denied, Canceled) as error:
            self.close_connection = True
            text = str(error) or "The transfer was canceled"
            self._send(403, (text + "\n").encode(),
                       {"content-type": "text/plain; charset=UTF-8", "connection": "close"})

    def _route(self, path, body):
        for pattern, name in _ROUTES:
            match = pattern.match(path)
            if not match:
                continue
            method = getattr(self, "_%s_%s" % (name, self.command.lower()), None)
            if method is None:
                raise _Answer(405, "Method %r not defined for %r" % (self.command, path))
            if not match.group(1):
                raise _Answer(400, "Ticket id is required")
            fault = self._imageio.faults.take(self.command, path)
            self._tickets.came(match.group(1), self._reader, self.command, name,
                               self.headers.get("range"))
            if fault and fault["kind"] == "delay":
                time.sleep(float(fault.get("seconds", 60)))
            if fault and fault["kind"] == "status":
                raise _Answer(int(fault.get("status", 500)), "Server failed on request")
            if fault and fault["kind"] == "answer":
                self._send_given(fault)
            else:
                method(match.group(1), fault, body)
            return
        raise _Answer(404, "No handler for %r" % path)

    def _authorize(self, ticket_id, operation="read"):
        ticket = self._tickets.authorize(ticket_id, self._reader, operation)
        seconds = ticket.tree.get("inactivity_timeout", UNAUTHORIZED_SECONDS)
        self.connection.settimeout(seconds)
        return ticket

    def _image_options(self, ticket_id, _fault, _body):
        if ticket_id == "*":
            features = ["checksum", "extents", "flush", "zero"]
            self._send_json({"features": features}, {"allow": "OPTIONS,GET,PUT,PATCH"})
            return
        ticket = self._authorize(ticket_id)
        self._tickets.touch(ticket)
        features, allow = ["checksum", "extents"], "OPTIONS,GET"
        if "write" in ticket.tree["ops"]:
            features, allow = features + ["flush", "zero"], allow + ",PUT,PATCH"
        readers = self._tickets.max_readers
        # A ticket for reading advertises writers all the same.
        self._send_json({"features": features, "max_readers": readers, "max_writers": readers},
                        {"allow": allow})

    def _image_put(self, ticket_id, _fault, _body):
        self._authorize(ticket_id, "write")
        self.close_connection = True
        raise _Answer(500, "The image is read-only", {"connection": "close"})

    _image_patch = _image_put

    def _extents_get(self, ticket_id, _fault, _body):
        ticket = self._authorize(ticket_id)
        context = self._query.get("context", "zero")
        if context not in ("zero", "dirty"):
            raise _Answer(400, "Unsupported value %r for 'context'" % context)
        if context == "dirty":
            raise _Answer(404, "Ticket does not support dirty extents")
        self._send_json(ticket.image.extents())

    def _algorithms_get(self, _ticket_id, _fault, _body):
        self._send_json({"algorithms": sorted(hashlib.algorithms_available)})

    def _checksum_get(self, ticket_id, _fault, _body):
        algorithm = self._query.get("algorithm", "blake2b")
        if algorithm not in hashlib.algorithms_available:
            raise _Answer(400, "Unsupported value %r for 'algorithm'" % algorithm)
        try:
            block_size = int(self._query.get("block_size", _DEFAULT_BLOCK))
        except ValueError:
            raise _Answer(400, "Invalid block size") from None
        if not _MIN_BLOCK <= block_size <= _MAX_BLOCK or block_size % 4096:
            raise _Answer(400, "Block size must be a multiple of 4096 between %d and %d"
                          % (_MIN_BLOCK, _MAX_BLOCK))
        ticket = self._authorize(ticket_id)
        with self._tickets.operation(ticket):
            try:
                digest = ticket.image.checksum(algorithm, block_size,
                                               lambda: not ticket.canceled)
            except TypeError:  # lengthless digests such as shake_128
                raise _Answer(500, "Server failed on request") from None
            self._tickets.count(ticket, 0, ticket.image.size)
        self._send_json({"algorithm": algorithm, "block_size": block_size, "checksum": digest})

    def _image_get(self, ticket_id, fault, _body):
        if self._query.get("close") == "y":
            self.close_connection = True
        wanted = self.headers.get("range")
        first, last = _parse_range(wanted) if wanted is not None else (0, None)
        ticket = self._authorize(ticket_id)
        available = min(ticket.tree["size"], ticket.image.size)
        if last is None:
            length = available - first
            if length < 0:
                raise _Answer(400, "Requested %d bytes, got 0 bytes" % length)
        else:
            length = last + 1 - first
            if last + 1 > ticket.tree["size"]:
                raise _Answer(416, "Requested range out of allowed range",
                              {"content-range": "bytes */%d" % ticket.tree["size"]})
            if last + 1 > available:
                raise _Answer(416, "Requested more bytes than available: %d > %d"
                              % (last + 1, available), {"content-range": "bytes */%d" % available})
        name = ticket.tree["filename"]
        headers = {"content-type": "application/octet-stream",
                   "content-disposition": "attachment; filename=" + name}
        status = 200
        if wanted is not None:
            status = 206
            headers["content-range"] = "bytes %d-%d/%d" % (first, first + length - 1,
                                                           ticket.tree["size"])
        self._stream(ticket, first, length, status, headers, fault)

    def _stream(self, ticket, offset, length, status, headers, fault):
        kind = fault["kind"] if fault else None
        if kind == "wrong_content_range":
            headers["content-range"] = "bytes %d-%d/%d" % (offset + 512, offset + 511 + length,
                                                           ticket.tree["size"])
        elif kind == "ok_instead_of_partial":
            status = 200
            headers.pop("content-range", None)
        # These three stop in the middle of the body.
        broken = kind in ("short_body", "drop", "stall")
        left = int(fault.get("after_bytes", length // 2)) if broken else length
        left = min(left, length)
        with self._tickets.operation(ticket):
            self._head(status, dict(headers, **{"content-length": length}))
            while left:
                data = ticket.image.read(offset, min(left, _READ_BYTES))
                self.wfile.write(data)
                self._tickets.count(ticket, offset, len(data))
                offset, left = offset + len(data), left - len(data)
                if ticket.canceled and left:
                    self.close_connection = True
                    return
        if kind == "stall":
            time.sleep(float(fault.get("seconds", 60)))
        if broken:
            self.close_connection = True
            if kind == "drop":  # without the goodbye of TLS
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                           struct.pack("ii", 1, 0))

    def _send_given(self, fault):
        given = fault.get("body", "")
        text = given if isinstance(given, str) else json.dumps(given)
        headers = {"content-type": fault.get("content_type", "application/json")}
        self._send(int(fault.get("status", 200)), text.encode(), headers)

    def _send_json(self, tree, headers=None):
        body = json.dumps(tree).encode() + b"\n"
        self._send(200, body, dict(headers or {}, **{"content-type": "application/json"}))

    def _send(self, status, body, headers):
        self._head(status, dict(headers, **{"content-length": len(body)}), body)

    def _head(self, status, headers, body=b""):
        lines = ["HTTP/1.1 %d %s" % (status, self.responses[status][0]),
                 "server: " + self.server_version, "date: " + self.date_time_string()]
        lines += ["%s: %s" % (name.lower(), value) for name, value in headers.items()]
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8") + body)


def _parse_range(text):
    """(first, last) of a Range header, last None when open; _Answer 416 for other forms."""
    match = _RANGE.fullmatch(text)
    if not match:
        raise _Answer(416, "Cannot satisfy range %r: invalid or multiple" % text)
    first, last = match.groups()
    if not first:
        raise _Answer(416, "Cannot satisfy range %r: no first byte" % text)
    if last and int(first) > int(last):
        raise _Answer(416, "Cannot satisfy range %r: first > last" % text)
    return int(first), int(last) if last else None
