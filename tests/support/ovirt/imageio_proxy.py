"""A proxy in front of a host: a second real daemon, whose tickets name the host's images."""


class WithProxy:
    """A host and its proxy as one; see imageio_api.py. What is not here is the host's alone."""

    def __init__(self, host, proxy):
        self._host, self._proxy = host, proxy
        self.kind = host.kind

    def __getattr__(self, name):
        return getattr(self._host, name)

    def start(self):
        self._host.start()
        self._proxy.start()

    def stop(self):
        self._proxy.stop()
        self._host.stop()

    def proxy_url(self):
        return self._proxy.url(None)

    def add(self, ticket):
        self._host.add(ticket)
        self._proxy.add(dict(ticket, url="%s/images/%s" % (self._host.url(None), ticket["uuid"])))

    def extend(self, ticket_id, seconds):
        self._host.extend(ticket_id, seconds)
        self._proxy.extend(ticket_id, seconds)

    def remove(self, ticket_id):
        """The proxy first: its requests are the host's, too."""
        return self._proxy.remove(ticket_id) and self._host.remove(ticket_id)
