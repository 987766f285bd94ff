"""The control endpoint: what a test sees of the engine and does to it. Plain HTTP, loopback."""

import http.server
import json
import socketserver

import transfer


class BadRequest(ValueError):
    """Told to the test as status 400."""


class Control:
    """The functions behind the endpoint. run_on_main runs a function on the main thread."""

    def __init__(self, engine, imageio, run_on_main):
        self._engine = engine
        self._imageio = imageio
        self._run_on_main = run_on_main
        self._posts = {"/fault": self._fault, "/expire-tokens": self._expire_tokens,
                       "/transfer": self._transfer, "/vm": self._vm, "/disk": self._disk,
                       "/imageio-fault": self._imageio_fault, "/clear-faults": self._clear_faults,
                       "/restart-imageio": self._restart_imageio}

    def get(self, path):
        """The JSON tree at path, or None."""
        return self.state() if path == "/state" else None

    def post(self, path, tree):
        """Does something; returns the JSON answer or None for an unknown path."""
        action = self._posts.get(path)
        return None if action is None else action(tree)

    def state(self):
        model = self._engine.model
        with model.lock:
            return {
                "imageio": self._imageio.kind, "sessions": self._engine.sessions.state(),
                "transfers": [t.state() for t in self._engine.transfers.every()],
                "disks": {d.id: {"alias": d.name, "status": d.status} for d in model.all_disks()},
                "vms": {v.id: {"name": v.name, "status": v.status} for v in model.vms},
                "faults": self._engine.injected.pending(),
                "requests": list(self._engine.requests)}

    def _fault(self, tree):
        self._engine.injected.add(tree)
        return {}

    def _clear_faults(self, _tree):
        self._engine.injected.clear()
        if self._imageio.kind == "builtin":
            self._imageio.faults.clear()
        return {}

    def _expire_tokens(self, _tree):
        return {"expired": self._engine.sessions.expire_all()}

    def _transfer(self, tree):
        with self._engine.model.lock:
            each = self._find_transfer(tree)
            if tree.get("expire_ticket"):
                each.expire_ticket()
            if "phase" in tree:
                phase = tree["phase"]
                if phase in transfer.PHASES:
                    each.set_phase(phase)
                else:  # a text no engine has yet: shown, while the transfer goes on
                    each.show(phase, int(tree.get("reads", 0)))
            return each.state()

    def _find_transfer(self, tree):
        for each in reversed(self._engine.transfers.every()):
            if tree.get("id") == each.id or tree.get("disk") in (each.disk.id, each.disk.name):
                return each
        raise BadRequest("there is no such transfer")

    def _vm(self, tree):
        with self._engine.model.lock:
            vm = _named(self._engine.model.vms, tree)
            self._engine.power.set_status(vm, tree["status"])
        return {}

    def _disk(self, tree):
        with self._engine.model.lock:
            disk = _named(self._engine.model.all_disks(), tree)
            disk.status = tree.get("status", disk.status)
            disk.size = tree.get("provisioned_size", disk.size)
            self._engine.model.commit()
        return {}

    def _imageio_fault(self, tree):
        if self._imageio.kind != "builtin":
            raise BadRequest("only the builtin imageio misbehaves on demand")
        self._imageio.faults.add(tree)
        return {}

    def _restart_imageio(self, _tree):
        self._run_on_main(self._imageio.restart)
        return {}


def _named(things, tree):
    for thing in things:
        if tree.get("id") in (thing.id, thing.name):
            return thing
    raise BadRequest("there is no %r" % tree.get("id"))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, control):
        self.control = control
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, format, *args):
        """Silent: tests call this all the time."""

    def do_GET(self):
        self._reply(self.server.control.get(self.path))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            tree = json.loads(body or b"{}")
            if not isinstance(tree, dict):
                raise BadRequest("expected an object")
            self._reply(self.server.control.post(self.path, tree))
        except KeyError as error:
            self._reply({"error": "missing %s" % error}, 400)
        except ValueError as error:
            self._reply({"error": str(error)}, 400)

    def _reply(self, tree, status=200):
        if tree is None:
            tree, status = {"error": "unknown path"}, 404
        body = json.dumps(tree).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
