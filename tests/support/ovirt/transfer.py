"""One image transfer: its phases over time and the data plane behind it.

    initializing -> transferring -> finalizing_success -> finished_success
         |             |   ^
         |           paused_* -> resuming -> transferring
         +-------------+--> cancelled_user|system -> finalizing_cleanup -> finished_cleanup

Each transfer has a thread that moves it along. Actions only change the phase; the thread
sees the change, opens or closes the data plane and waits out the configured seconds.
"""

import threading
import time
import uuid

from imageio_api import ImageioError

ACTIONS = ("extend", "pause", "resume", "finalize", "cancel")
PAUSED = ("paused_system", "paused_user")
CANCELLED = ("cancelled_user", "cancelled_system")
FINISHED = ("finished_success", "finished_failure", "finished_cleanup")
# After these the data plane is taken down; the value follows when that is done.
CLOSING = {"finalizing_success": "finished_success", "finalizing_failure": "finished_failure",
           "finalizing_cleanup": "finished_cleanup", "cancelled_user": "finalizing_cleanup",
           "cancelled_system": "finalizing_cleanup"}
PHASES = ("initializing", "transferring", "resuming") + PAUSED + FINISHED + tuple(CLOSING)

_KEPT = ("id", "phase", "phases", "calls", "direction", "timeout_policy", "inactivity_timeout",
         "shallow", "url", "proxy_url", "ticket", "failure", "unlocked")

_FROM = {
    "extend": ("initializing", "transferring", "resuming") + PAUSED,
    "pause": ("transferring",),
    "resume": PAUSED,
    "finalize": ("transferring",),
    "cancel": ("initializing", "transferring", "resuming") + PAUSED,
}


class Transfer:
    """State is guarded by the model's lock, through `changed`."""

    def __init__(self, model, imageio, nbd, layer, by_snapshot, *, image_format, direction,
                 timeout_policy, inactivity_timeout, shallow, host):
        self.id = str(uuid.uuid4())
        self.layer, self.disk, self.by_snapshot = layer, layer.disk, by_snapshot
        self.format, self.direction, self.timeout_policy = image_format, direction, timeout_policy
        self.inactivity_timeout, self.shallow, self.host = inactivity_timeout, shallow, host
        self.phase = "initializing"
        self.phases = [self.phase]
        self.calls = [{"call": "created", "at": time.time(), "phase": self.phase, "ok": True}]
        self.url = self.proxy_url = self.ticket = None
        self.active, self.transferred, self.finished_at = False, 0, None
        self.failure = None
        self.unlocked = False  # it has let go of its disk
        self._override = None
        self._touched = time.monotonic()
        self._auto_extend = True
        self._abandoned = False
        self._server = None
        self._model, self._imageio, self._nbd = model, imageio, nbd
        self._settings = model.settings
        self._changed = threading.Condition(model.lock)
        self._thread = threading.Thread(target=self._run, name="transfer", daemon=True)
        self.disk.status = "locked"

    def start(self):
        self._thread.start()

    def record(self):
        """What restore() takes. Lock held."""
        kept = {name: getattr(self, name) for name in _KEPT}
        kept.update({"disk": self.disk.id, "layer": self.layer.id, "host": self.host.id,
                     "by_snapshot": self.by_snapshot, "image_format": self.format,
                     "server": getattr(self._server, "path", None)})
        return kept

    def restore(self, record):
        """Takes the place of an earlier engine's transfer, before start(). Lock held."""
        for name in _KEPT:
            setattr(self, name, record[name])
        if record["server"]:
            self._server = self._imageio.server(record["server"])

    def start_restored(self):
        """Goes on, unless all was done before the engine was killed. Lock held."""
        if self.unlocked:
            self.finished_at = time.monotonic()
        else:
            self.start()

    def join(self, timeout):
        self._thread.join(timeout)

    def act(self, action):
        """Does an action; returns None or why it is refused. Lock held."""
        allowed = self.phase in _FROM[action]
        self.calls.append({"call": action, "at": time.time(), "phase": self.phase, "ok": allowed})
        self._model.commit()
        if not allowed:
            return ("Cannot %s Image Transfer: it is in phase %s, which does not allow this."
                    % (action, self.phase))
        if action == "extend":
            self._touched = time.monotonic()
            self._auto_extend = True
            self._extend_ticket(self._settings["ticket_timeout"])
        else:
            self.set_phase({"pause": "paused_user", "resume": "resuming",
                            "finalize": "finalizing_success", "cancel": "cancelled_user"}[action])
        return None

    def set_phase(self, phase):
        """Moves to a phase and wakes the thread. Lock held."""
        self.phase = phase
        self.phases.append(phase)
        self._model.commit()
        self._changed.notify_all()

    def show(self, text, reads):
        """Makes the API show any text as phase for some reads, 0 = until changed. Lock held."""
        self._override = [text, reads] if text else None

    def shown_phase(self):
        if not self._override:
            return self.phase
        text, reads = self._override
        if reads:
            self._override = [text, reads - 1] if reads > 1 else None
        return text

    def expire_ticket(self):
        """Makes the host's ticket expire now, until a client extends it. Lock held."""
        self._auto_extend = False
        self._extend_ticket(0)

    def _extend_ticket(self, seconds):
        if self.ticket:
            self._imageio.extend(self.ticket, seconds)

    def abandon(self):
        """The engine stops: close the data plane and leave."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def _run(self):
        while True:
            with self._changed:
                phase = self.phase
                done = self._abandoned or phase in FINISHED
            if done:
                break
            if phase in ("initializing", "resuming"):
                self._wait(phase, self._settings["initializing_seconds"])
                self._open(phase)
            elif phase == "transferring":
                self._wait(phase, self._settings["monitor_seconds"])
                self._monitor()
            elif phase in PAUSED:
                if self._close():
                    self._wait(phase, None)
            else:
                self._finish(phase)
        self._close()
        with self._changed:
            self.finished_at = time.monotonic()
            self._wait(self.phase, self._settings["unlock_seconds"])
            if self.disk.status == "locked":
                spoiled = self.direction == "upload" and self.phase != "finished_success"
                self.disk.status = "illegal" if spoiled else "ok"
            self.unlocked = not self._abandoned or self.phase in FINISHED
            self._model.commit()

    def _wait(self, phase, seconds):
        """Waits while the phase stays, at most seconds; None is without limit."""
        with self._changed:
            self._changed.wait_for(lambda: self.phase != phase or self._abandoned, seconds)

    def _move(self, expected, phase):
        with self._changed:
            if self.phase == expected:
                self.set_phase(phase)

    def _open(self, phase):
        with self._changed:
            if self.phase != phase or self._abandoned:
                return
        try:
            server, url, size = self._serve()
            self._server = server
            ticket = {"uuid": str(uuid.uuid4()), "size": size, "url": url,
                      "ops": ["read"] if self.direction == "download" else ["write"],
                      "timeout": self._settings["ticket_timeout"], "transfer_id": self.id,
                      "filename": self.disk.name, "sparse": True, "dirty": False}
            if self.inactivity_timeout:
                ticket["inactivity_timeout"] = self.inactivity_timeout
            self._imageio.add(ticket)
        except (ImageioError, OSError) as error:
            self.failure = str(error)
            self._move(phase, "paused_system")
            return
        with self._changed:
            self.ticket = ticket["uuid"]
            path = "/images/" + self.ticket
            if self._settings["transfer_url"]:
                self.url = self._imageio.url(self._settings["transfer_host"]) + path
            if self._settings["proxy_url"]:
                self.proxy_url = self._imageio.proxy_url() + path
            self._touched = time.monotonic()
        self._move(phase, "transferring")

    def _serve(self):
        """(qemu-nbd or None, URL for the ticket, size in bytes)."""
        if self.layer.image is None:
            raise OSError("the disk has no image")
        # cow bytes go out as they lie in the file; raw is what the guest sees.
        if self.format == "cow":
            return self._imageio.serve_file(self.layer.image)
        return self._imageio.serve_guest_view(self._nbd, self.layer.image, self.layer.format,
                                              self.shallow, self.disk.size)

    def _monitor(self):
        with self._changed:
            ticket = self.ticket
        info = self._imageio.info(ticket)
        with self._changed:
            if self.phase != "transferring":
                return
            if info is None:  # the daemon was restarted and knows no tickets
                self.failure = "the host lost the ticket"
                self.set_phase("paused_system")
                return
            self.active, self.transferred = info["active"], info.get("transferred") or 0
            idle = min(info["idle_time"], time.monotonic() - self._touched)
            timeout = self._settings["ticket_timeout"]
            if self._auto_extend and info["expires"] - time.monotonic() < timeout / 2:
                self._extend_ticket(timeout)
            if self.inactivity_timeout and not self.active and idle > self.inactivity_timeout:
                self.calls.append({"call": "inactive", "at": time.time(), "phase": self.phase,
                                   "ok": True})
                self.set_phase(self._when_inactive())

    def _when_inactive(self):
        pauses = self.timeout_policy == "pause" or (self.timeout_policy == "legacy"
                                                    and self.direction == "upload")
        return "paused_system" if pauses else "cancelled_system"

    def _finish(self, phase):
        if not self._close():
            return  # requests are still running on the host; ask again
        self._wait(phase, self._settings["finalizing_seconds"])
        self._move(phase, CLOSING[phase])

    def _close(self):
        """Removes ticket and server. False when the host answers that requests still run."""
        with self._changed:
            ticket = self.ticket
        if ticket and not self._imageio.remove(ticket):
            if not self._abandoned:
                return False
        with self._changed:
            self.ticket = self.url = self.proxy_url = None
            self.active = False
        if self._server is not None:
            self._server.stop()
            self._server = None
        return True

    def state(self):
        """For the control endpoint. Lock held."""
        return {"id": self.id, "disk": self.disk.id, "direction": self.direction,
                "format": self.format, "phase": self.phase, "phases": list(self.phases),
                "alive": self.phase not in FINISHED, "calls": list(self.calls),
                "finalized": self._did("finalize"), "cancelled": self._did("cancel"),
                "extended": self._did("extend"), "failure": self.failure,
                "data": self._imageio.usage(self.id)}

    def _did(self, call):
        return any(c["call"] == call and c["ok"] for c in self.calls)
