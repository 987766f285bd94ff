#!/usr/bin/python3
"""An NBD server with structured replies that says it has answered a read, and has left a part out.

    lying_nbd_server.py --socket PATH --file DISK --mode ok|short|empty|twice|gap|shuffled

ok and shuffled answer in full (shuffled: the second half first); short leaves the second half out, empty
everything, twice sends the first half two times, gap leaves 4 KiB in the middle out. No real server does this;
what it does otherwise is the protocol's (fixed newstyle, NBD_OPT_GO, no metadata contexts).
"""
import argparse
import os
import socket
import struct
import threading

OPTION_MAGIC, REPLY_MAGIC = 0x49484156454F5054, 0x3E889045565A9
OPT_ABORT, OPT_GO, OPT_STRUCTURED = 2, 7, 8
REP_ACK, REP_INFO, REP_UNSUP = 1, 3, 0x80000001
REQUEST_MAGIC, SIMPLE_MAGIC, CHUNK_MAGIC = 0x25609513, 0x67446698, 0x668E33EF
READ, DISCONNECT = 0, 2
DONE, NONE, OFFSET_DATA = 1, 0, 1
FLAGS = 1 | 2 | 0x100  # has flags, read-only, many connections


def take(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def negotiate(connection, size):
    connection.sendall(b"NBDMAGIC" + struct.pack(">QH", OPTION_MAGIC, 3))
    take(connection, 4)
    while True:
        _, option, length = struct.unpack(">QII", take(connection, 16))
        take(connection, length)

        def reply(kind, data=b""):
            connection.sendall(struct.pack(">QIII", REPLY_MAGIC, option, kind, len(data)) + data)

        if option == OPT_STRUCTURED:
            reply(REP_ACK)
        elif option == OPT_GO:
            reply(REP_INFO, struct.pack(">HQH", 0, size, FLAGS))
            reply(REP_ACK)
            return
        elif option == OPT_ABORT:
            reply(REP_ACK)
            raise ConnectionError
        else:
            reply(REP_UNSUP)


def parts_of(mode, length):
    half = length // 2
    return {
        "ok": [(0, length)],
        "shuffled": [(half, length - half), (0, half)],
        "short": [(0, half)],
        "empty": [],
        "twice": [(0, half), (0, half)],
        "gap": [(0, half), (half + 4096, max(0, length - half - 4096))],
    }[mode]


def serve(connection, disk, mode):
    try:
        negotiate(connection, os.fstat(disk).st_size)
        while True:
            _, _, command, handle, offset, length = struct.unpack(">IHHQQI", take(connection, 28))
            if command == DISCONNECT:
                return
            if command != READ:
                connection.sendall(struct.pack(">IIQ", SIMPLE_MAGIC, 22, handle))
                continue
            for start, count in parts_of(mode, length):
                data = os.pread(disk, count, offset + start)
                connection.sendall(struct.pack(">IHHQIQ", CHUNK_MAGIC, 0, OFFSET_DATA, handle, 8 + len(data),
                                               offset + start) + data)
            connection.sendall(struct.pack(">IHHQI", CHUNK_MAGIC, DONE, NONE, handle, 0))
    except (ConnectionError, OSError):
        return
    finally:
        connection.close()


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--socket", required=True)
    flags.add_argument("--file", required=True)
    flags.add_argument("--mode", required=True)
    options = flags.parse_args()
    parts_of(options.mode, 8192)
    disk = os.open(options.file, os.O_RDONLY)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(options.socket)
    listener.listen(16)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, disk, options.mode), daemon=True).start()


if __name__ == "__main__":
    main()
