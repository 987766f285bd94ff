"""Ways in which the builtin imageio can be made to misbehave."""

import re
import threading

KINDS = ("short_body", "wrong_content_range", "status", "drop", "stall", "ok_instead_of_partial",
         "answer", "delay")


class DataFaults:
    """Rules for data plane requests; each is used up by `times` matching requests.

    A rule: kind; times (default 1, 0 = for ever); path_regex (default: image data, not
    extents nor checksum); method (default GET); after_bytes for short_body, drop and stall:
    how much of the body goes out first (default half); seconds for stall and delay (default
    60); status for status (default 500) and answer (default 200), the latter with body (text
    or a JSON tree) and content_type.

    status, answer and delay work for any request, the others for image data.
    """

    _KEYS = {"kind", "times", "path_regex", "method", "after_bytes", "seconds", "status",
             "body", "content_type"}

    def __init__(self):
        self._lock = threading.Lock()
        self._rules = []

    def add(self, rule):
        if rule.get("kind") not in KINDS:
            raise ValueError("kind is one of " + ", ".join(KINDS))
        unknown = set(rule) - self._KEYS
        if unknown:
            raise ValueError("unknown keys: " + ", ".join(sorted(unknown)))
        times = int(rule.get("times", 1))
        with self._lock:
            self._rules.append(dict(rule, left=times if times > 0 else None,
                                    path=re.compile(rule.get("path_regex", r"^/images/[^/]+$"))))

    def clear(self):
        with self._lock:
            self._rules.clear()

    def take(self, method, path):
        """The rule for this request, or None."""
        with self._lock:
            for rule in self._rules:
                if rule.get("method", "GET") != method or not rule["path"].search(path):
                    continue
                if rule["left"] is not None:
                    rule["left"] -= 1
                    if rule["left"] == 0:
                        self._rules.remove(rule)
                return rule
        return None
