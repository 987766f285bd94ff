#!/usr/bin/python3
"""A host of its own: the real imageio daemon and its qemu-nbd, in a process that outlives the engine. See README.md.

Takes one request a connection on a Unix socket, {"call", "with": [...]}, and answers {"answer"} or {"error"}. Killed, it
takes daemon and servers with it at once, as a host that loses its power.
"""

import argparse
import collections
import json
import os
import signal
import socketserver
import sys
import threading

import imageio_real
from imageio_api import ImageioError
from main_thread import MainThread
from qemu_nbd import NbdServers

Tls = collections.namedtuple("Tls", "cert key ca")


class Host:
    """What the engine may ask for. Children are started by the main thread, which lives as long as they should."""

    CALLS = ("port", "add", "info", "extend", "remove", "serve", "stop_server")

    def __init__(self, imageio, nbd, main_thread):
        self._imageio, self._nbd, self._main = imageio, nbd, main_thread
        self._servers = {}

    def __getattr__(self, name):
        return getattr(self._imageio, name)

    def port(self):
        return self._imageio.port

    def serve(self, image, image_format, shallow):
        def start():
            server = self._nbd.serve(image, image_format, shallow)
            self._servers[server.path] = server
            made.append(server)
        made = []
        self._main.call(start)
        return {"server": made[0].path, "url": made[0].url()}

    def stop_server(self, path):
        server = self._servers.pop(path, None)
        if server is not None:
            server.stop()


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path, host):
        self.host = host
        super().__init__(path, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    timeout = 60

    def handle(self):
        request = json.loads(self.rfile.readline())
        try:
            if request["call"] not in Host.CALLS:
                raise ValueError("no call " + request["call"])
            answer = {"answer": getattr(self.server.host, request["call"])(*request["with"])}
        except (ImageioError, OSError, ValueError) as error:
            answer = {"error": str(error)}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", required=True, metavar="DIR", help="sockets go here; a short path")
    parser.add_argument("--state", required=True, metavar="DIR", help="logs go here")
    parser.add_argument("--port", type=int, default=0, help="of the daemon; 0: any")
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--max-readers", type=int, default=8)
    parser.add_argument("--imageio-python", required=True, metavar="PATH", help="python of a venv with imageio")
    parser.add_argument("--exit-with-parent", action="store_true")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    parent = os.getppid() if arguments.exit_with_parent else 0
    main_thread = MainThread()
    signal.signal(signal.SIGTERM, main_thread.stop)
    signal.signal(signal.SIGINT, main_thread.stop)
    os.makedirs(arguments.state, exist_ok=True)
    settings = {"max_readers": arguments.max_readers, "remove_timeout": 10}
    imageio = imageio_real.RealImageio(arguments.imageio_python, Tls(arguments.cert, arguments.key, arguments.ca),
                                       settings, arguments.runtime, os.path.abspath(arguments.state),
                                       port=arguments.port)
    host = Host(imageio, NbdServers(arguments.runtime, os.path.join(arguments.state, "qemu-nbd.log"),
                                    arguments.max_readers), main_thread)
    try:
        imageio.start()
        path = os.path.join(arguments.runtime, "host.sock")
        if os.path.exists(path):
            os.unlink(path)  # of one that was killed
        server = Server(path, host)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        print(json.dumps({"socket": path, "port": imageio.port}), flush=True)
        main_thread.loop(parent)
        server.shutdown()
    except ImageioError as error:
        print("host: %s" % error, file=sys.stderr)
        return 1
    finally:
        imageio.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
