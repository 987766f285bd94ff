"""The names of a test cluster's Services, over UDP: NAME.NAMESPACE.svc[.cluster.local]. Everything else does not exist."""
import socket
import struct
import threading

DOMAIN = "cluster.local"
A, AAAA, NOERROR, NXDOMAIN = 1, 28, 0, 3
TTL = 1  # Services come and go with tests


class ClusterDns:
    """address_of(namespace, name): the Service's IPv4 address, or None where there is none."""

    def __init__(self, listen, address_of):
        self._address_of = address_of
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((listen, 53))
        self._socket.settimeout(0.2)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="cluster-dns")
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _serve(self):
        while not self._stop.is_set():
            try:
                query, peer = self._socket.recvfrom(512)
            except TimeoutError:
                continue
            try:
                answer = self._answer(query)
            except (ValueError, IndexError, struct.error, UnicodeDecodeError, OSError):
                continue  # unreadable, or the API server is away: the resolver asks again
            self._socket.sendto(answer, peer)

    def _answer(self, query):
        number, flags, questions = struct.unpack(">HHH", query[:6])
        if questions != 1:
            raise ValueError("not one question")
        labels, position = [], 12
        while length := query[position]:
            labels.append(query[position + 1:position + 1 + length].decode())
            position += 1 + length
        kind = struct.unpack(">H", query[position + 1:position + 3])[0]
        question = query[12:position + 5]
        address = self._find(".".join(labels).lower())
        code = NOERROR if address else NXDOMAIN
        records = b""
        if address and kind == A:
            records = struct.pack(">HHHLH", 0xC00C, A, 1, TTL, 4) + socket.inet_aton(address)
        header = struct.pack(">HHHHHH", number, 0x8580 | (flags & 0x0100) | code, 1, 1 if records else 0, 0, 0)
        return header + question + records

    def _find(self, name):
        name = name.removesuffix("." + DOMAIN)
        parts = name.split(".")
        if len(parts) != 3 or parts[2] != "svc":
            return None
        return self._address_of(parts[1], parts[0])
