#!/usr/bin/python3
"""A strict oVirt engine for tests. See README.md."""

import argparse
import collections
import json
import os
import shutil
import signal
import sys
import tempfile
import threading

import control
import imageio_apart
import imageio_builtin
import imageio_proxy
import imageio_real
import inventory
import rest
from database import Database
from faults import Injected
from imageio_api import ImageioError
from main_thread import MainThread
from power import Power
from qemu_nbd import NbdServers
from sessions import Sessions
from transfers import Transfers
from views import Views
from vm_view import API

Tls = collections.namedtuple("Tls", "cert key ca")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--cert", required=True, help="server certificate, PEM")
    parser.add_argument("--key", required=True)
    parser.add_argument("--ca", required=True, help="what clients should trust, PEM")
    parser.add_argument("--imageio-cert", help="another certificate for the host")
    parser.add_argument("--imageio-key")
    parser.add_argument("--internal-ca", help="what pki-resource serves; default --ca")
    parser.add_argument("--host-ca", help="what the proxy trusts hosts by; default --internal-ca")
    parser.add_argument("--inventory", required=True, metavar="bed.json")
    parser.add_argument("--state", required=True, metavar="DIR",
                        help="logs go here, and what an engine started again there still knows")
    parser.add_argument("--host", metavar="SOCKET", help="of a host.py that outlives this engine")
    parser.add_argument("--user", default="admin@internal")
    parser.add_argument("--password-file", required=True)
    parser.add_argument("--imageio", choices=("real", "builtin", "auto"), default="auto")
    parser.add_argument("--imageio-python", metavar="PATH", help="python of a venv with imageio")
    parser.add_argument("--exit-with-parent", action="store_true")
    return parser.parse_args()


def choose_imageio(arguments, settings, runtime_dir):
    """Builds the data plane; raises ImageioError when `real` is asked for and missing.

    A host with a certificate of its own has a proxy beside the engine, with the engine's.
    """
    if arguments.host:
        return imageio_apart.HostApart(arguments.host)
    host_ca = os.path.abspath(arguments.host_ca or arguments.internal_ca or arguments.ca)
    tls = Tls(os.path.abspath(arguments.imageio_cert or arguments.cert),
              os.path.abspath(arguments.imageio_key or arguments.key), host_ca)
    proxy_tls = Tls(os.path.abspath(arguments.cert), os.path.abspath(arguments.key), host_ca)
    has_proxy = bool(arguments.imageio_cert)
    usable = imageio_real.RealImageio.is_usable(arguments.imageio_python)
    if arguments.imageio == "real" and not usable:
        raise ImageioError("there is no ovirt-imageio beside --imageio-python")
    if usable and arguments.imageio != "builtin":
        def daemon(name, certificate):
            return imageio_real.RealImageio(arguments.imageio_python, certificate, settings,
                                            runtime_dir, os.path.abspath(arguments.state), name)
        host = daemon("imageio", tls)
        return imageio_proxy.WithProxy(host, daemon("proxy", proxy_tls)) if has_proxy else host
    return imageio_builtin.BuiltinImageio(tls, settings, runtime_dir,
                                          proxy_tls if has_proxy else None)


def ready_line(arguments, model, imageio, rest_port, control_port):
    return json.dumps({
        "url": "https://127.0.0.1:%d%s" % (rest_port, API), "ca": os.path.abspath(arguments.ca),
        "imageio": imageio.kind, "imageio_url": imageio.url(None),
        "control": "http://127.0.0.1:%d" % control_port,
        "vms": [{"name": vm.name, "id": vm.id,
                 "disks": [{"alias": d.name, "id": d.id} for d in vm.disks]}
                for vm in model.vms]})


def run(arguments, runtime_dir):
    """Serves until told to stop."""
    parent = os.getppid() if arguments.exit_with_parent else 0
    main_thread = MainThread()
    signal.signal(signal.SIGTERM, main_thread.stop)
    signal.signal(signal.SIGINT, main_thread.stop)
    with open(arguments.password_file, encoding="utf-8") as file:
        password = file.read().rstrip("\r\n")
    model = inventory.load(arguments.inventory)
    imageio = choose_imageio(arguments, model.settings, runtime_dir)
    nbd = NbdServers(runtime_dir, os.path.join(arguments.state, "qemu-nbd.log"),
                     model.settings["max_readers"])
    transfers = Transfers(model, imageio, nbd)
    engine = rest.Engine(model, Views(model, transfers), transfers,
                         Power(model, transfers.is_disk_busy),
                         Sessions(arguments.user, password, model.settings), Injected(),
                         arguments.internal_ca or arguments.ca)
    host, _, port = arguments.listen.rpartition(":")
    servers = [rest.Server((host, int(port)), Tls(arguments.cert, arguments.key, None), engine),
               control.Server(control.Control(engine, imageio, main_thread.call))]
    try:
        imageio.start()
        if arguments.host:
            Database(os.path.join(arguments.state, "engine.json")).open(model, transfers)
        for server in servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1},
                             daemon=True).start()
        print(ready_line(arguments, model, imageio, *(s.server_address[1] for s in servers)),
              flush=True)
        main_thread.loop(parent)
        for server in servers:
            server.shutdown()
    finally:
        imageio.stop()
        transfers.stop()


def main():
    arguments = parse_arguments()
    os.makedirs(arguments.state, exist_ok=True)
    # Unix socket names are short, and a state directory need not be.
    runtime_dir = tempfile.mkdtemp(prefix="ovirtbed.")
    try:
        run(arguments, runtime_dir)
    except (inventory.BadBed, ImageioError, OSError) as error:
        print("engine: %s" % error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(runtime_dir, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
