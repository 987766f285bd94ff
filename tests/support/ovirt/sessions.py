"""Sign-on: tokens of the OAuth password grant, Basic credentials, persistent sessions."""

import base64
import binascii
import hmac
import secrets
import threading
import time

MAX_EXPIRY = "9223372036854775807"


class Sessions:
    """Who is logged in. Credentials are compared, never stored in logs or state."""

    def __init__(self, user, password, settings):
        self._user = user
        self._password = password
        self._settings = settings
        self._lock = threading.Lock()
        self._tokens = {}
        self._cookies = {}
        self.opened = 0
        self.closed = 0
        self.rejected = 0

    def _check(self, user, password):
        good_user = hmac.compare_digest(user.encode(), self._user.encode())
        good_password = hmac.compare_digest(password.encode(), self._password.encode())
        if not (good_user and good_password):
            self.rejected += 1
        return good_user and good_password

    def grant(self, form):
        """Answers the token request: (status, JSON object or one-element list)."""
        if form.get("grant_type") != "password":
            return 400, _error("unsupported_grant_type", "Grant type is not supported.")
        if "ovirt-app-api" not in form.get("scope", "").split():
            return 400, _error("invalid_scope", "The scope ovirt-app-api is required.")
        for field in ("username", "password"):
            if field not in form:
                return 400, _error("invalid_request", "No %s in the request." % field)
        if not self._check(form["username"], form["password"]):
            status = self._settings["bad_credentials_status"]
            return status, _error("access_denied", "Cannot authenticate the user: the user name "
                                                   "or password is incorrect.")
        token = secrets.token_urlsafe(64)
        with self._lock:
            self._tokens[token] = time.monotonic()
            self.opened += 1
        answer = {"access_token": token, "scope": "ovirt-app-api", "exp": MAX_EXPIRY,
                  "token_type": "bearer"}
        return 200, [answer] if self._settings["token_in_array"] else answer

    def revoke(self, token):
        """Logout. A token already gone is not an error."""
        with self._lock:
            if self._tokens.pop(token, None) is not None:
                self.closed += 1

    def expire_all(self):
        """Forgets every session, as an engine restart does; returns how many."""
        with self._lock:
            count = len(self._tokens) + len(self._cookies)
            self._tokens.clear()
            self._cookies.clear()
            return count

    def authorize(self, authorization, cookie, prefer):
        """Is this request allowed? Returns (allowed, cookie to set or None)."""
        persistent = "persistent-auth" in (prefer or "")
        if cookie and self._use_cookie(cookie, persistent):
            return True, None
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            return self._use_token(value.strip()), None
        if scheme.lower() != "basic":
            return False, None
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False, None
        if not self._check(user, password):
            return False, None
        if not persistent:
            return True, None
        fresh = secrets.token_urlsafe(24)
        with self._lock:
            self._cookies[fresh] = time.monotonic()
        return True, fresh

    def _use_token(self, token):
        with self._lock:
            used = self._tokens.get(token)
            if used is None:
                return False
            if time.monotonic() - used > self._settings["session_idle_seconds"]:
                del self._tokens[token]
                return False
            self._tokens[token] = time.monotonic()
            return True

    def _use_cookie(self, cookie, persistent):
        with self._lock:
            if cookie not in self._cookies:
                return False
            if not persistent:  # the last request of a session leaves `Prefer` out
                del self._cookies[cookie]
            return True

    def state(self):
        now = time.monotonic()
        with self._lock:
            return {"alive": len(self._tokens), "cookies": len(self._cookies),
                    "idle_seconds": [round(now - used, 3) for used in self._tokens.values()],
                    "opened": self.opened, "closed": self.closed, "rejected": self.rejected}


def _error(code, description):
    return {"error": code, "error_description": description}
