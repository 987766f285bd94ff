#!/usr/bin/env python3
"""Times `vmferry copy` against its peers, pair by pair in one run, on this machine.

  ./dev bench                 all rows
  ./dev bench unix tcp        some rows
  ./dev bench --json          one JSON object a line
  ./dev bench --size 1G --pairs 3
  ./dev bench --thick unix tcp      targets on blocks that the device has already

Every tool copies the same source to the same file system and pays for its own flush.
"""
import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time

import rows as r

BIN = os.environ.get("VMFERRY_BIN", "build/release/vmferry")


class Bench:
    def __init__(self, options):
        self.options = options
        self.size = options.size
        self.folder = os.path.abspath(options.folder)
        os.makedirs(self.folder, exist_ok=True)
        self.source = os.path.join(self.folder, "random.raw")
        self.targets = os.path.abspath(options.targets or self.folder)
        os.makedirs(self.targets, exist_ok=True)
        self.target = os.path.join(self.targets, "target.raw")
        self.pki = r.make_pki(os.path.join(self.folder, "pki"))
        self.results = []
        r.make_random(self.source, self.size)

    # ---- measuring

    def fresh(self, path=None):
        path = path or self.target
        if os.path.exists(path):
            os.unlink(path)
        os.sync()
        return path

    def ours(self, source, *flags, target=None, verify=False):
        path = target or self.fresh()
        command = [BIN, "copy", *([] if verify else ["--no-verify"]), *flags, source, path]
        return r.run(command)

    def pairs(self, ours, peer):
        """Median figures of alternating runs, and the median of the pairwise ratios."""
        mine, theirs = [], []
        ours(), peer()  # warm both
        for _ in range(self.options.pairs):
            mine.append(ours())
            theirs.append(peer())
        ratio = statistics.median(b.seconds / a.seconds for a, b in zip(mine, theirs))
        cpu = statistics.median(a.cpu / b.cpu if b.cpu else 0 for a, b in zip(mine, theirs))
        middle = lambda figures: statistics.median(f.seconds for f in figures)
        return middle(mine), middle(theirs), ratio, cpu, mine, theirs

    def report(self, row, ours_mib_s, peer, peer_mib_s, ratio, cpu_ratio, bar, met, note=""):
        result = {"row": row, "ours_mib_s": round(ours_mib_s), "peer": peer, "peer_mib_s": round(peer_mib_s),
                  "ratio": round(ratio, 2), "cpu_ratio": None if cpu_ratio is None else round(cpu_ratio, 2),
                  "bar": bar, "met": met}
        if note:
            result["note"] = note
        self.results.append(result)
        if self.options.json:
            print(json.dumps(result), flush=True)
        else:
            cpu = "" if cpu_ratio is None else "  cpu ×%.2f" % cpu_ratio
            print("%-28s ours %5.0f MiB/s  %-22s %5.0f MiB/s  ×%.2f%s  bar %s  %s %s" % (
                row, ours_mib_s, peer, peer_mib_s, ratio, cpu, bar, "met" if met else "NOT MET", note), flush=True)

    def compare(self, row, peer_name, ours, peer, at_least, cpu_at_most=None, size=None):
        mine, theirs, ratio, cpu, my_runs, their_runs = self.pairs(ours, peer)
        size = size or self.size
        met = ratio >= at_least and (cpu_at_most is None or cpu <= cpu_at_most)
        bar = ">= %.1f" % at_least + ("" if cpu_at_most is None else ", cpu <= %.1f" % cpu_at_most)
        busy = lambda runs: statistics.median(100 * f.busy() for f in runs)
        per_gib = lambda runs: statistics.median(f.cpu for f in runs) / (size / r.GIB)
        self.report(row, size / r.MIB / mine, peer_name, size / r.MIB / theirs, ratio, cpu, bar, met,
                    "(CPU s/GiB: %.2f against %.2f; cores busy: %.0f %% against %.0f %%)" % (
                        per_gib(my_runs), per_gib(their_runs), busy(my_runs), busy(their_runs)))

    # ---- rows

    def nbdcopy(self, uri, target=None):
        return r.run(["nbdcopy", "--flush", uri, target or self.fresh()])

    def row_unix(self):
        with r.temporary(self.folder) as folder, r.nbdkit_unix(folder, "file", self.source) as server:
            self.compare("unix", "nbdcopy --flush", lambda: self.ours(server.uri), lambda: self.nbdcopy(server.uri), 2.0, 0.6)

    def row_machine(self):
        """Against the slower of our null-sink rate and fio's direct sequential writes into allocated space."""
        fio = ["fio", "--name=w", "--filename=" + self.target, "--rw=write", "--bs=1M", "--direct=1", "--size=%d" % self.size,
               "--ioengine=libaio", "--iodepth=8", "--end_fsync=1", "--fallocate=posix"]

        def limit(uri):
            null = self.ours(uri, target="null:")
            self.fresh()
            return r.Figures(max(null.seconds, r.fio_seconds(fio)), 0, 0)

        with r.temporary(self.folder) as folder, r.nbdkit_unix(folder, "file", self.source) as server:
            mine, theirs, ratio, _, _, _ = self.pairs(lambda: self.ours(server.uri), lambda: limit(server.uri))
            self.report("machine", self.size / r.MIB / mine, "min(null sink, fio)", self.size / r.MIB / theirs, ratio, None,
                        ">= 0.9", ratio >= 0.9)

    def row_verified(self):
        with r.temporary(self.folder) as folder, r.nbdkit_unix(folder, "file", self.source) as server:
            self.compare("verified", "nbdcopy --flush", lambda: self.ours(server.uri, verify=True),
                         lambda: self.nbdcopy(server.uri), 1.2)

    def row_tcp(self):
        port = r.free_port()
        with r.nbdkit_tcp(port, "file", self.source):
            uri = "nbd://127.0.0.1:%d" % port
            self.compare("tcp", "nbdcopy --flush", lambda: self.ours(uri), lambda: self.nbdcopy(uri), 1.5)

    def row_tls(self):
        port = r.free_port()
        with r.nbdkit_tcp(port, "file", self.source, tls=self.pki):
            ca = os.path.join(self.pki, "ca-cert.pem")
            uri = "nbds://localhost:%d" % port
            peer = uri + "/?tls-certificates=" + self.pki
            self.compare("tls", "nbdcopy --flush", lambda: self.ours(uri, "--cacert", ca), lambda: self.nbdcopy(peer), 1.2)

    def row_qemu(self):
        def qemu(uri):
            self.fresh()
            return r.run(["qemu-img", "convert", "-W", "-m", "16", "-f", "raw", "-O", "raw", "-t", "none", uri, self.target])

        with r.temporary(self.folder) as folder, r.nbdkit_unix(folder, "file", self.source) as server:
            self.compare("qemu-img", "qemu-img -W -m 16", lambda: self.ours(server.uri), lambda: qemu(server.uri), 2.5)

    def row_delay(self):
        size = min(self.size, r.GIB)
        source = os.path.join(self.folder, "delay.raw")
        r.make_random(source, size)
        with r.temporary(self.folder) as folder, \
                r.nbdkit_unix(folder, "file", source, "rdelay=5ms", filters=("delay",)) as server:
            self.compare("5 ms", "nbdcopy --flush", lambda: self.ours(server.uri), lambda: self.nbdcopy(server.uri), 1.5, size=size)

    def row_https(self):
        port = r.free_port()
        ca = os.path.join(self.pki, "ca-cert.pem")
        url = "https://localhost:%d/random.raw" % port

        def curl():
            self.fresh()
            return r.run(["sh", "-c", 'curl -sS --cacert "$1" -o "$2" "$3" && sync "$2"', "sh", ca, self.target, url])

        with r.temporary(self.folder) as folder, r.nginx(folder, port, self.pki, self.folder):
            self.compare("https", "curl + sync", lambda: self.ours(url, "--cacert", ca), curl, 1.5)

    def row_imageio(self):
        import imageio_peer
        imageio_peer.run(self)

    def row_sparse(self):
        dense = os.path.join(self.folder, "dense.raw")
        sparse = os.path.join(self.folder, "sparse.raw")
        r.make_random(dense, r.GIB)
        r.make_scattered(sparse, 100 * r.GIB, r.GIB)
        with r.temporary(self.folder) as one, r.temporary(self.folder) as two, \
                r.nbdkit_unix(one, "file", sparse) as scattered, r.nbdkit_unix(two, "file", dense) as packed:
            mine, theirs, ratio, _, _, _ = self.pairs(lambda: self.ours(scattered.uri), lambda: self.ours(packed.uri))
            self.report("100 GiB sparse", r.GIB / r.MIB / mine, "own 1 GiB dense", r.GIB / r.MIB / theirs, 1 / ratio, None,
                        "<= 1.4 of its time", 1 / ratio <= 1.4)

    def row_eight(self):
        size = min(self.size, r.GIB)
        source = os.path.join(self.folder, "delay.raw")
        r.make_random(source, size)
        targets = [os.path.join(self.targets, "eight-%d.raw" % i) for i in range(8)]

        def many(command):
            for target in targets:
                self.fresh(target)
            return r.run(*[command(target) for target in targets])

        with r.temporary(self.folder) as folder, r.nbdkit_unix(folder, "file", source) as server:
            self.compare("8 disks", "8 x nbdcopy --flush",
                         lambda: many(lambda t: [BIN, "copy", "--no-verify", server.uri, t]),
                         lambda: many(lambda t: ["nbdcopy", "--flush", server.uri, t]), 1.3, size=8 * size)
        for target in targets:
            self.fresh(target)

    def row_null(self):
        def limit():
            return r.Figures(self.size / r.socket_limit(self.size), 0, 0)

        with r.temporary(self.folder) as folder, r.nbdkit_unix(folder, "file", self.source) as server:
            mine, theirs, ratio, _, _, _ = self.pairs(lambda: self.ours(server.uri, target="null:"), limit)
            self.report("null sink", self.size / r.MIB / mine, "one socket, nothing done", self.size / r.MIB / theirs, ratio,
                        None, ">= 0.85", ratio >= 0.85)

    def row_memory(self):
        """One process with eight active disks of the kind with the largest buffers; MiB, not MiB/s."""
        size = min(self.size, r.GIB)
        source = os.path.join(self.folder, "delay.raw")
        r.make_random(source, size)
        targets = [os.path.join(self.targets, "eight-%d.raw" % i) for i in range(8)]
        port = r.free_port()
        ca = os.path.join(self.pki, "ca-cert.pem")
        program = os.path.join(os.path.dirname(BIN), "benchmarks", "vmferry_disks")
        with r.temporary(self.folder) as folder, r.nginx(folder, port, self.pki, self.folder):
            out = subprocess.run([program, "https://localhost:%d/delay.raw" % port, ca, *targets],
                                 capture_output=True, text=True, check=True).stdout
        for target in targets:
            self.fresh(target)
        peak = json.loads(out)["peak_rss_mib"]
        self.report("memory", peak, "limit", 400, peak / 400, None, "<= 400 MiB", peak <= 400,
                    "(peak RSS in MiB: 8 HTTPS disks, copied and verified in one process)")

    def row_resume(self):
        """Killed at half: what the server had to read twice, counted by the server's own process."""
        journal = os.path.join(self.folder, "resume.journal")
        self.fresh(journal)
        self.fresh()
        # A server for each: nbdkit 1.32 may fail an assertion when its client is killed.
        with r.temporary(self.folder) as folder:
            with r.nbdkit_unix(folder, "file", self.source) as server:
                command = [BIN, "copy", "--no-verify", "--journal", journal, server.uri, self.target]
                before = server.bytes_read()
                read = 0
                first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                while first.poll() is None and read < self.size // 2:
                    time.sleep(0.002)
                    read = server.bytes_read() - before
                os.kill(server.process.pid, signal.SIGSTOP)  # so that it reads no more for nobody
                read = server.bytes_read() - before
                first.kill()
                killed = first.wait() != 0
                os.kill(server.process.pid, signal.SIGCONT)
            if not killed:
                raise RuntimeError("the copy was over before it could be killed")
            with r.nbdkit_unix(folder, "file", self.source) as server:
                before = server.bytes_read()
                second = r.run(command)
                twice = read + server.bytes_read() - before - self.size
        subprocess.run(["cmp", self.source, self.target], check=True)
        in_flight = 16 * r.MIB  # the workers' buffers
        allowed = self.size // 100 + in_flight
        self.report("resume", self.size / 2 / r.MIB / second.seconds, "bytes read again", twice / r.MIB, twice / self.size,
                    None, "<= 1 % + 16 MiB in flight", twice <= allowed, "(%d MiB read again)" % (twice / r.MIB))


ROWS = ["unix", "machine", "verified", "tcp", "tls", "qemu", "delay", "https", "imageio", "sparse", "eight", "null", "memory", "resume"]


def size_of(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(float(text[:-1]) * units[text[-1].upper()]) if text[-1].upper() in units else int(text)


def machine():
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "?")
    versions = [subprocess.run(c, capture_output=True, text=True).stdout.splitlines()[0]
                for c in (["nbdcopy", "--version"], ["nbdkit", "--version"], ["qemu-img", "--version"])]
    return "%s, %d cores, Linux %s; %s" % (model, os.cpu_count(), platform.release(), "; ".join(versions))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="of: copy (all) " + " ".join(ROWS))
    parser.add_argument("--size", type=size_of, default=4 * r.GIB, help="of the source disk (4G)")
    parser.add_argument("--pairs", type=int, default=5, help="counted pairs of runs (5)")
    parser.add_argument("--folder", default="build/bench", help="where source and targets lie")
    parser.add_argument("--targets", help="where the targets lie instead")
    parser.add_argument("--thick", action="store_true",
                        help="targets on a volume of 12 GiB made for it, whose blocks are all there; needs root")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = [row for row in options.rows if row != "copy"] or ROWS
    unknown = [row for row in wanted if row not in ROWS]
    if unknown:
        parser.error("no such row: " + " ".join(unknown))
    print("# " + machine(), file=sys.stderr)
    if not options.thick:
        return run_rows(wanted, options)
    os.makedirs(options.folder, exist_ok=True)
    with r.thick_volume(os.path.abspath(options.folder), 12 * r.GIB) as volume:
        options.targets = volume
        return run_rows(wanted, options)


def run_rows(wanted, options):
    bench = Bench(options)
    for row in wanted:
        try:
            getattr(bench, "row_" + row)()
        except (RuntimeError, OSError) as failure:
            print("# row %s could not run: %s" % (row, failure), file=sys.stderr)
    bench.fresh()
    return 0 if all(result["met"] for result in bench.results) and bench.results else 1


if __name__ == "__main__":
    sys.exit(main())
