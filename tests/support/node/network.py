"""A network namespace for a test's node, joined to this machine by one veth pair."""
import contextlib
import os
import random
import subprocess


def run(*words, check=True):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


class NodeNetwork:
    """node: the node's address, in the namespace. outside: ours on the same net, for peers of the test."""

    def __init__(self):
        taken = run("ip", "-4", "route")
        for number in random.sample(range(1, 250), 249):
            if f"10.213.{number}." not in taken:
                break
        self.name = f"vmferry-node-{os.getpid()}-{number}"
        self.node, self.outside = f"10.213.{number}.1", f"10.213.{number}.2"
        self.pods = f"10.214.{number}.0/24"
        self._link = f"vfn{os.getpid() % 100000}x{number}"[:15]
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self):
        run("ip", "netns", "add", self.name)
        inner = ("ip", "-n", self.name)
        run(*inner, "link", "set", "lo", "up")
        run("ip", "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "addr", "add", f"{self.outside}/24", "dev", self._link)
        run("ip", "link", "set", self._link, "up")
        run(*inner, "addr", "add", f"{self.node}/24", "dev", "eth0")
        run(*inner, "link", "set", "eth0", "up")
        run(*inner, "route", "add", "default", "via", self.outside)  # what kube-proxy and the kubelet look for
        self.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.route_localnet=1")

    @property
    def prefix(self):
        # Not `ip netns exec`: that hides /sys/fs/cgroup.
        return ("nsenter", f"--net=/run/netns/{self.name}", "--")

    def run(self, *words, check=True):
        return run(*self.prefix, *words, check=check)

    def close(self):
        with contextlib.suppress(RuntimeError):
            run("ip", "link", "del", self._link)
        with contextlib.suppress(RuntimeError):
            run("ip", "netns", "del", self.name)
