"""An imageio of our own, for machines without the real daemon.

It answers as the daemon does, odd corners included: HEAD is refused with a body, one
connection too many waits instead of failing, an idle connection is closed in silence, an
expired ticket can be extended while its connections stay. Unlike the daemon it can be made
to misbehave; see imageio_faults.py. It needs no qemu-nbd: a qcow2 chain is flattened first.
"""

import os
import socket
import socketserver
import ssl
import threading

import imageio_connection
import imageio_faults
import imageio_tickets
from imageio_api import ImageioError
from imageio_image import Image


class BuiltinImageio:
    """Same interface as RealImageio; see imageio_api.py."""

    kind = "builtin"

    def __init__(self, tls, settings, runtime_dir, proxy_tls=None):
        """With proxy_tls it also listens in the proxy's place, with that certificate."""
        self._runtime_dir = runtime_dir
        self._contexts = [_context(each) for each in (tls, proxy_tls) if each]
        self._ports = [0] * len(self._contexts)
        self._servers = []
        self._settings = settings
        self._images = {}
        self.tickets = imageio_tickets.Tickets(settings["max_readers"],
                                               settings["remove_timeout"])
        self.faults = imageio_faults.DataFaults()

    def start(self):
        for index, context in enumerate(self._contexts):
            try:
                server = _Server(("127.0.0.1", self._ports[index]), context, self)
            except OSError as error:
                raise ImageioError("cannot listen: %s" % error) from None
            self._servers.append(server)
            self._ports[index] = server.server_address[1]
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1},
                             name="imageio", daemon=True).start()

    def restart(self):
        self.stop()
        self.tickets.clear()
        self.start()

    def stop(self):
        while self._servers:
            server = self._servers.pop()
            server.shutdown()
            server.server_close()
            server.drop_connections()

    def url(self, host):
        return "https://%s:%d" % (host or "127.0.0.1", self._ports[0])

    def proxy_url(self):
        return "https://127.0.0.1:%d" % self._ports[-1]

    def serve_guest_view(self, _nbd, image, image_format, shallow, size):
        return self._keep(Image.guest_view(image, image_format, shallow, self._runtime_dir), size)

    def serve_file(self, image):
        return self._keep(Image.file_bytes(image), os.path.getsize(image))

    def _keep(self, image, size):
        url = "image:%d" % id(image)
        self._images[url] = image
        return _Kept(self._images, url), url, size

    def add(self, ticket):
        self.tickets.add(ticket, self._images[ticket["url"]])

    def info(self, ticket_id):
        return self.tickets.info(ticket_id)

    def extend(self, ticket_id, seconds):
        self.tickets.extend(ticket_id, seconds)

    def remove(self, ticket_id):
        return self.tickets.remove(ticket_id)

    def usage(self, transfer_id):
        return self.tickets.usage(transfer_id)


def _context(tls):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.cert, tls.key)
    return context


class _Kept:
    def __init__(self, images, url):
        self._images = images
        self._url = url

    def stop(self):
        self._images.pop(self._url).stop()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 40

    def __init__(self, address, context, imageio):
        self.context = context
        self.imageio = imageio
        self._lock = threading.Lock()
        self._open = set()
        super().__init__(address, imageio_connection.Connection)

    def process_request_thread(self, request, client_address):
        # The handshake happens here, off the accepting thread: a client that never
        # speaks must not stop the others.
        request.settimeout(imageio_connection.UNAUTHORIZED_SECONDS)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            secure = self.context.wrap_socket(request, server_side=True)
        except OSError:
            self.shutdown_request(request)
            return
        with self._lock:
            self._open.add(secure)
        try:
            super().process_request_thread(secure, client_address)
        finally:
            with self._lock:
                self._open.discard(secure)

    def handle_error(self, request, client_address):
        """Clients that vanish are everyday business here."""

    def drop_connections(self):
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it went by itself
