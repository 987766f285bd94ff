"""The HTTPS side of the engine: sign-on, headers, bodies, faults; then views and actions."""

import collections
import gzip
import http.server
import json
import re
import socket
import socketserver
import ssl
import time
import urllib.parse

import codec
import follow
import search
from faults import Fault
from transfer import ACTIONS as TRANSFER_ACTIONS
from vm_view import ACTIONS as VM_ACTIONS, API
from inventory import identity

SSO = "/ovirt-engine/sso/oauth/token"
LOGOUT = "/ovirt-engine/services/sso-logout"
PKI = "/ovirt-engine/services/pki-resource"

# Below this a compressed answer is larger than a plain one.
_GZIP_FROM_BYTES = 1024
_MAX_CORRELATION = 50


class Engine:
    """What the handler needs, in one place. requests is the log of the last 500."""

    def __init__(self, model, views, transfers, power, sessions, injected, ca_path):
        self.model = model
        self.views = views
        self.transfers = transfers
        self.power = power
        self.sessions = sessions
        self.injected = injected
        self.ca_path = ca_path
        self.requests = collections.deque(maxlen=500)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address, tls, engine):
        self.engine = engine
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.load_cert_chain(tls.cert, tls.key)
        super().__init__(address, Handler)

    def process_request_thread(self, request, client_address):
        request.settimeout(60)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            secure = self._context.wrap_socket(request, server_side=True)
        except OSError:
            self.shutdown_request(request)
            return
        super().process_request_thread(secure, client_address)

    def handle_error(self, request, client_address):
        """Clients that vanish are everyday business here."""


class _Dropped(Exception):
    """A test wants this connection to end without an answer."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Apache"
    sys_version = ""

    def log_message(self, format, *args):
        """The request log is in the control endpoint."""

    def do_GET(self):
        self._serve()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_GET

    def _serve(self):
        self._engine = self.server.engine
        self._path, _, query = self.path.partition("?")
        self._query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self._cookie = None
        # With or without a body, the family of the request decides that of the answer.
        accepted = self.headers.get("Accept", "*/*")
        self._json = "json" in accepted and "xml" not in accepted
        entry = {"at": time.time(), "method": self.command, "path": self.path, "status": None,
                 "version": self.headers.get("Version"),
                 "content_type": self.headers.get("Content-Type"),
                 "auth": (self.headers.get("Authorization") or "").partition(" ")[0] or None}
        self._engine.requests.append(entry)
        try:
            length = self.headers.get("Content-Length", "0")
            if not length.isdigit() or int(length) > codec.MAX_BODY_BYTES:
                self.close_connection = True
                self._reply(413, b"", "text/plain")
                return
            body = self.rfile.read(int(length))
            rule = self._engine.injected.take(self.command, self.path)
            self._misbehave(rule, "before")
            if rule and ("status" in rule or "body" in rule):
                self._inject(rule, entry)
                return
            answer = self._answer(body)
            entry["status"] = answer[0]
            self._misbehave(rule, "after")
            self._reply(*answer)
        except _Dropped:
            entry["status"] = "dropped"
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _misbehave(self, rule, when):
        if not rule:
            return
        if "delay_seconds" in rule and rule.get("when", "before") == when:
            time.sleep(float(rule["delay_seconds"]))
        if rule.get("drop") == when:
            raise _Dropped

    def _inject(self, rule, entry):
        status = entry["status"] = int(rule.get("status", 200))
        if "body" in rule:
            body = rule["body"]
            text = body if isinstance(body, str) else json.dumps(body)
            kind = rule.get("content_type") or ("application/xml" if isinstance(body, str)
                                                else "application/json")
            self._reply(status, text.encode(), kind)
        else:
            detail = "[A test asked for status %d here]" % status
            self._reply(*self._tree(status, Fault(status, detail).element()))

    def _answer(self, body):
        """(status, body, content type) of this request."""
        if self._path.startswith(SSO):
            return self._sign_on(body)
        if self._path == LOGOUT and self.command == "POST":
            form = dict(urllib.parse.parse_qsl(body.decode(errors="replace")))
            self._engine.sessions.revoke(form.get("token", ""))
            return 200, b"{}", "application/json"
        if self._path == PKI and self._query.get("resource") == "ca-certificate":
            with open(self._engine.ca_path, "rb") as file:
                return 200, file.read(), "application/x-x509-ca-cert"
        if self._path != API and not self._path.startswith(API + "/"):
            return 404, b"<html><body>Not Found</body></html>", "text/html;charset=UTF-8"
        try:
            return self._api(body)
        except Fault as fault:
            return self._tree(fault.status, fault.element())

    def _sign_on(self, body):
        if not self._engine.model.settings["sso"]:
            return 404, b"<html><body>Not Found</body></html>", "text/html;charset=UTF-8"
        if self._path != SSO:  # token-http-auth: there is no Kerberos here
            return 401, b"", "text/html;charset=UTF-8"
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        if self.command != "POST" or kind != "application/x-www-form-urlencoded":
            tree = {"error": "invalid_request", "error_description": "a form must be posted"}
            return 400, json.dumps(tree).encode(), "application/json"
        form = dict(urllib.parse.parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        status, tree = self._engine.sessions.grant(form)
        return status, json.dumps(tree).encode(), "application/json"

    def _api(self, body):
        cookie = re.search(r"JSESSIONID=([^;\s]+)", self.headers.get("Cookie", ""))
        allowed, self._cookie = self._engine.sessions.authorize(
            self.headers.get("Authorization"), cookie and cookie.group(1),
            self.headers.get("Prefer"))
        if not allowed:
            page = b"<html><head><title>Error</title></head><body>Unauthorized</body></html>"
            return 401, page, "text/html;charset=UTF-8"
        if self.headers.get("Version", "4") != "4":
            raise Fault(400, "Version %s of the API is not available"
                        % self.headers["Version"], reason="Invalid version")
        correlation = self.headers.get("Correlation-Id") or self._query.get("correlation_id", "")
        if len(correlation) > _MAX_CORRELATION:
            raise Fault(400, "[The correlation id is longer than %d characters]"
                        % _MAX_CORRELATION)
        if not re.search(r"xml|json|\*/\*|application/\*", self.headers.get("Accept", "*/*")):
            return 406, b"", "text/plain"
        parts = [urllib.parse.unquote(p) for p in self._path[len(API):].split("/") if p]
        with self._engine.model.lock:
            if self.command == "GET":
                return self._get(parts)
            if self.command == "POST":
                return self._post(parts, body)
        return 405, b"", "text/plain"

    def _get(self, parts):
        wants_all = "true" in (self._query.get("all_content", "").lower(),
                               self.headers.get("All-Content", "").lower())
        try:
            tree = self._engine.views.get(parts, self._query, wants_all)
        except search.BadQuery as error:
            raise Fault(400, "[The search query is not valid: %s]" % error) from None
        if tree is None:
            return 404, b"", "text/html;charset=UTF-8"
        mode = self._engine.model.settings["follow"]
        if "follow" in self._query and mode != "off":
            try:
                follow.apply(tree, self._query["follow"], self._fetch,
                             tree.tag in codec.COLLECTIONS, mode == "strict")
            except follow.UnknownName as error:
                raise Fault(400, "The link %s cannot be followed" % error,
                            reason="Invalid follow parameter") from None
        return self._tree(200, tree)

    def _fetch(self, href):
        parts = [p for p in href[len(API):].split("/") if p]
        try:
            return self._engine.views.get(parts, {})
        except Fault:
            return None

    def _post(self, parts, body):
        if parts == ["imagetransfers"]:
            request = self._body(body, "image_transfer")
            made = self._engine.transfers.create(request)
            return self._tree(201, self._engine.transfers.view(made))
        if len(parts) == 3 and parts[0] == "vms" and parts[2] in VM_ACTIONS:
            self._body(body, "action")
            vm = self._engine.model.vm(parts[1])
            if vm is None:
                raise Fault(404, "Entity not found: vm: id=" + parts[1])
            self._engine.power.act(vm, parts[2])
            return self._complete()
        if len(parts) == 3 and parts[0] == "imagetransfers" and parts[2] in TRANSFER_ACTIONS:
            self._body(body, "action")
            self._engine.transfers.act(parts[1], parts[2])
            return self._complete()
        # A path that exists, but not for this method.
        known = self._engine.views.get(parts, {}) is not None
        return (405 if known else 404), b"", "text/plain"

    def _complete(self):
        job = identity("job", str(time.time_ns()))
        return self._tree(200, codec.element("action", {
            "status": "complete", "job": {"id": job, "href": "%s/jobs/%s" % (API, job)}}))

    def _body(self, body, root):
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind not in ("application/xml", "text/xml", "application/json"):
            raise Fault(415, "Cannot consume content type %r" % kind,
                        reason="Unsupported Media Type")
        try:
            return codec.parse(body, kind == "application/json", root)
        except codec.BadBody as error:
            raise Fault(400, "For correct usage, see the API's model: %s" % error,
                        reason="Request syntactically incorrect.") from None

    def _tree(self, status, tree):
        if self._json:
            native = self._engine.model.settings["json_scalars"] == "native"
            return status, codec.to_json(tree, native), "application/json"
        return status, codec.to_xml(tree), "application/xml"

    def _reply(self, status, body, content_type):
        self.send_response(status)
        if "gzip" in self.headers.get("Accept-Encoding", "") and len(body) > _GZIP_FROM_BYTES:
            body = gzip.compress(body, 1)
            self.send_header("Content-Encoding", "gzip")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Bearer realm="ENGINE"')
        if self._cookie:
            self.send_header("Set-Cookie", "JSESSIONID=%s; path=%s; secure; HttpOnly"
                             % (self._cookie, API))
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()
