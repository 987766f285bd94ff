"""Tickets of the builtin imageio: who may read what until when, and who is reading."""

import collections
import contextlib
import threading
import time


class Denied(Exception):
    """Answered with 403 and the end of the connection."""


class Canceled(Exception):
    """The ticket was removed while an operation ran."""


class _Ticket:
    def __init__(self, tree, image):
        self.tree = tree
        self.image = image
        self.expires = time.monotonic() + tree["timeout"]
        self.accessed = time.monotonic()
        self.canceled = False
        self.running = 0
        self.completed = []
        self.readers = set()


class _Usage:
    """What clients did with one ticket; kept when the ticket is gone."""

    def __init__(self, transfer_id):
        self.transfer_id = transfer_id
        self.users = set()
        self.peak = 0
        self.count = 0
        self.requests = collections.deque(maxlen=5000)


class Tickets:
    """All tickets of one host."""

    def __init__(self, max_readers, remove_timeout):
        self.max_readers = max_readers
        self._remove_timeout = remove_timeout
        self._changed = threading.Condition()
        self._tickets = {}
        self._usage = {}

    def add(self, tree, image):
        with self._changed:
            self._tickets[tree["uuid"]] = _Ticket(tree, image)
            self._usage[tree["uuid"]] = _Usage(tree["transfer_id"])

    def clear(self):
        with self._changed:
            for ticket in self._tickets.values():
                ticket.canceled = True
            self._tickets.clear()
            self._changed.notify_all()

    def info(self, ticket_id):
        with self._changed:
            ticket = self._tickets.get(ticket_id)
            if ticket is None:
                return None
            active = ticket.running > 0
            return {"active": active, "expires": ticket.expires, "canceled": ticket.canceled,
                    "idle_time": 0 if active else int(time.monotonic() - ticket.accessed),
                    "transferred": sum(end - start for start, end in ticket.completed),
                    "connections": len(ticket.readers)}

    def extend(self, ticket_id, seconds):
        with self._changed:
            if ticket_id in self._tickets:
                self._tickets[ticket_id].expires = time.monotonic() + seconds

    def remove(self, ticket_id):
        """Cancels and waits for running operations; False when they do not end in time."""
        with self._changed:
            ticket = self._tickets.get(ticket_id)
            if ticket is None:
                return True
            ticket.canceled = True
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: ticket.running == 0, self._remove_timeout):
                return False
            del self._tickets[ticket_id]
            return True

    def came(self, ticket_id, reader, method, what, wanted):
        """Notes a request, before anything is decided about it."""
        with self._changed:
            usage = self._usage.get(ticket_id)
            if usage is None:
                return
            usage.users.add(reader)
            usage.peak = max(usage.peak, len(usage.users))
            usage.count += 1
            usage.requests.append({"method": method, "what": what, "range": wanted})

    def usage(self, transfer_id):
        """Requests to the tickets of a transfer, and the most connections open at a time."""
        with self._changed:
            mine = [u for u in self._usage.values() if u.transfer_id == transfer_id]
            return {"requests": [r for u in mine for r in u.requests],
                    "count": sum(u.count for u in mine),
                    "peak_connections": max((u.peak for u in mine), default=0)}

    def authorize(self, ticket_id, reader, operation):
        """The ticket, with a place for this connection among its readers.

        Waits while max_readers other connections hold places: nobody is refused for that.
        Raises Denied.
        """
        with self._changed:
            ticket = self._check(ticket_id, operation)
            while reader not in ticket.readers:
                if len(ticket.readers) < self.max_readers:
                    ticket.readers.add(reader)
                    break
                self._changed.wait()
                ticket = self._check(ticket_id, operation)
            return ticket

    def _check(self, ticket_id, operation):
        ticket = self._tickets.get(ticket_id)
        if ticket is None:
            raise Denied("No such ticket %s" % ticket_id)
        name = "Transfer=%s" % ticket.tree["transfer_id"]
        if ticket.canceled:
            raise Denied(name + " was canceled")
        if ticket.expires <= time.monotonic():
            raise Denied(name + " expired")
        # Who may write may also read.
        if operation not in ticket.tree["ops"] and "write" not in ticket.tree["ops"]:
            raise Denied("%s forbids %s" % (name, operation))
        return ticket

    def leave(self, reader):
        """A connection ended: its places are free."""
        with self._changed:
            for ticket in self._tickets.values():
                ticket.readers.discard(reader)
            for usage in self._usage.values():
                usage.users.discard(reader)
            self._changed.notify_all()

    def touch(self, ticket):
        """A completed request counts as life and refreshes the ticket."""
        with self._changed:
            ticket.accessed = time.monotonic()
            ticket.expires = ticket.accessed + ticket.tree["timeout"]

    @contextlib.contextmanager
    def operation(self, ticket):
        """Counts an operation as running; ends in Canceled when the ticket went meanwhile."""
        with self._changed:
            if ticket.canceled:
                raise Canceled
            ticket.running += 1
        try:
            yield
        finally:
            with self._changed:
                ticket.running -= 1
                canceled = ticket.canceled
                self._changed.notify_all()
        if canceled:
            raise Canceled
        self.touch(ticket)

    def count(self, ticket, start, length):
        """Notes bytes as read. What is read twice counts once, so keeps a union."""
        end, apart = start + length, []
        with self._changed:
            for known in ticket.completed:
                if known[1] < start or end < known[0]:
                    apart.append(known)
                else:
                    start, end = min(start, known[0]), max(end, known[1])
            ticket.completed = sorted(apart + [(start, end)])
