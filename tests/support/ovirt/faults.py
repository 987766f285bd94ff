"""Faults: the engine's own, and those a test asks for."""

import re
import threading

import codec


class Fault(Exception):
    """An error answer of the API: an HTTP status with the engine's reason and detail.

    action: the fault travels inside an <action> of status `failed`.
    """

    def __init__(self, status, detail, reason="Operation Failed", action=False):
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.action = action

    def element(self):
        tree = {"reason": self.reason, "detail": self.detail}
        if self.action:
            return codec.element("action", {"status": "failed", "fault": tree})
        return codec.element("fault", tree)


def not_found(kind, identity):
    return Fault(404, "Entity not found: %s: id=%s" % (kind, identity))


class Injected:
    """The list of faults tests asked for; each matches requests a number of times.

    A rule: path_regex (searched in the path with its query), method (default any), times
    (default 1, 0 = for ever) and what happens: status with optional body and content_type;
    drop "before" or "after" the request took effect; delay_seconds, waited before, or with
    "when": "after" when the request took effect but its answer has not left.
    """

    _KEYS = {"path_regex", "method", "times", "status", "body", "content_type", "drop",
             "delay_seconds", "when"}

    def __init__(self):
        self._lock = threading.Lock()
        self._rules = []

    def add(self, rule):
        unknown = set(rule) - self._KEYS
        if unknown:
            raise ValueError("unknown keys: " + ", ".join(sorted(unknown)))
        if not {"status", "drop", "delay_seconds", "body"} & set(rule):
            raise ValueError("the fault does nothing: give status, drop, delay_seconds or body")
        times = int(rule.get("times", 1))
        entry = dict(rule, path=re.compile(rule.get("path_regex", "")),
                     left=times if times > 0 else None)
        if entry.get("drop") is True:
            entry["drop"] = "before"
        with self._lock:
            self._rules.append(entry)

    def clear(self):
        with self._lock:
            self._rules.clear()

    def take(self, method, path):
        """The first rule that matches this request, used up by one; or None."""
        with self._lock:
            for rule in self._rules:
                if rule.get("method") not in (None, method) or not rule["path"].search(path):
                    continue
                if rule["left"] is not None:
                    rule["left"] -= 1
                    if rule["left"] == 0:
                        self._rules.remove(rule)
                return rule
        return None

    def pending(self):
        with self._lock:
            return [{key: value for key, value in rule.items() if key != "path"}
                    for rule in self._rules]
