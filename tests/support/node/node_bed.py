#!/usr/bin/python3
"""A whole Kubernetes node for tests: the control plane of tests/support/kube, and beside it containerd, the kubelet and
kube-proxy, in network, mount and process namespaces of their own. What runs in them ends with them.

    reason = missing()
    with NodeBed() as bed:
        bed.import_image(path)
        bed.kubectl("get", "nodes")
        bed.node_run("losetup", "-f")      # as a program on the node

As a program it stays until its stdin ends: tests/support/node/node_bed.py [IMAGE.tar...]
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent), str(ROOT / "deploy/daemonset/image")]
from archive import write_archive  # noqa: E402
from kube import bed as kube  # noqa: E402
from node.dns import DOMAIN, ClusterDns  # noqa: E402
from node.network import NodeNetwork, run  # noqa: E402

PROGRAMS = (*kube.PROGRAMS, "kube-scheduler", "kube-proxy", "kubelet", "kubectl")
TOOLS = {"containerd": "containerd", "ctr": "containerd", "runc": "runc", "iptables": "iptables", "nsenter": "util-linux",
         "unshare": "util-linux", "losetup": "mount", "mkfs.ext4": "e2fsprogs", "gcc": "g++", "ip": "iproute2",
         "setpriv": "util-linux"}
CNI = pathlib.Path("/usr/lib/cni")
NODE = "node1"
PAUSE = "localhost/vmferry-pause:1"


def missing():
    """Why no node can run here; empty when one can: then one that does not come up (NotUp) is a fault."""
    if os.geteuid() != 0:
        return "needs root: containers, mounts, network namespaces"
    if reason := kube.missing(PROGRAMS):
        return reason
    for tool, package in TOOLS.items():
        if not shutil.which(tool):
            return f"needs {tool}: apt-get install {package}"
    if not (CNI / "bridge").exists():
        return f"needs {CNI}/bridge: apt-get install containernetworking-plugins"
    if "overlay" not in pathlib.Path("/proc/filesystems").read_text():
        return "needs a kernel with overlayfs"
    if not os.path.exists("/dev/loop-control"):
        return "needs loop devices"
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers") and not os.path.isdir("/sys/fs/cgroup/memory"):
        return "needs cgroups at /sys/fs/cgroup"
    for mount in _cgroup_mounts():
        try:
            os.rmdir(_made(mount / f"vmferry-probe-{os.getpid()}"))
        except OSError as failure:
            return f"no cgroup can be made here: {failure}"
    try:
        network = NodeNetwork()
    except RuntimeError as failure:
        return f"no network namespace can be made here: {failure}"
    network.close()
    probe = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c",
                            "mount --make-rshared / && mount -t tmpfs none /run"], capture_output=True, text=True)
    return f"no mount namespace can be made here: {probe.stderr.strip()}" if probe.returncode else ""


def _made(directory):
    directory.mkdir(exist_ok=True)
    return directory


def _cgroup_mounts():
    """Where a cgroup of ours can be made: the one of version 2, or each controller of version 1."""
    base = pathlib.Path("/sys/fs/cgroup")
    if (base / "cgroup.controllers").exists():
        return [base]
    return [path for path in base.iterdir() if path.is_dir() and path.name != "unified"]


class NodeBed(kube.KubeBed):
    def __init__(self, **options):
        self.network = NodeNetwork()
        self.address = self.network.node
        self.command_prefix = self.network.prefix
        self.network_flags = ("--endpoint-reconciler-type=lease", f"--advertise-address={self.address}",
                              "--kubelet-preferred-address-types=InternalIP")
        self._dns = self._init = None
        self._processes = {}
        self._cgroup = self.network.name
        try:
            super().__init__(controllers=("*", "-bootstrap-signer-controller", "-token-cleaner-controller"),
                             scheduler=True, **options)
            self._start_node()
        except BaseException:
            self.stop()
            raise

    # ---- what tests use

    def kubectl(self, *words, text=None, check=True):
        done = subprocess.run([str(kube.program_folder() / "kubectl"), "--kubeconfig", str(self.kubeconfig),
                               f"--cache-dir={self.folder}/kubectl-cache", *map(str, words)],
                              input=text, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *words):
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def import_image(self, archive):
        self.ctr("images", "import", archive)

    def ctr(self, *words):
        return run("ctr", "--address", self.folder / "containerd.sock", "--namespace", "k8s.io", *words)

    def node_run(self, *words, check=True):
        """A program on the node: its mounts, its network, its processes."""
        return run(*self._node_prefix(), *words, check=check)

    def loop_device(self, name, size):
        """A block device with a new file of that size behind it."""
        path = self.folder / "disks" / name
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb") as file:
            file.truncate(size)
        device = run("losetup", "--find", "--show", path).strip()
        # As udev leaves block devices, which not every test machine runs.
        shutil.chown(device, "root", "disk")
        os.chmod(device, 0o660)
        return device

    def mounted_file_system(self, name, size):
        """A directory of the node with a new ext4 of its own."""
        device = self.loop_device(name, size)
        run("mkfs.ext4", "-q", "-m", "0", device)
        directory = self.folder / "mounts" / name
        directory.mkdir(parents=True)
        self.node_run("mount", device, directory)
        return directory

    def from_node(self, path):
        """The same path of the node, for programs outside its mount namespace."""
        return pathlib.Path(f"/proc/{self._init}/root{path}")

    # ---- how it is started

    def _make_keys(self):
        super()._make_keys()
        pair = self.authority.issue("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
        self.network_flags += (f"--kubelet-certificate-authority={self.authority.certificate}",
                               f"--kubelet-client-certificate={pair[0]}", f"--kubelet-client-key={pair[1]}")

    def _start_node(self):
        self._start_init()
        self._build_pause()
        self._dns = ClusterDns(self.network.outside, self._service_address)
        self._start_containerd()
        self.import_image(self.folder / "pause.tar")
        user = self.authority.issue("proxy", "/CN=system:kube-proxy")
        self._start_on_node(
            "kube-proxy", str(kube.program_folder() / "kube-proxy"), "--proxy-mode=iptables",
            f"--kubeconfig={self.write_kubeconfig('proxy', user)}", f"--hostname-override={NODE}",
            f"--bind-address={self.address}", "--metrics-bind-address=127.0.0.1:10249",
            "--healthz-bind-address=127.0.0.1:10256", "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0", "--oom-score-adj=0")
        self._start_kubelet()
        self.wait_for(self._is_node_ready, "the node", 120)

    def _start_init(self):
        """The first process of the namespaces: with it, all in them end."""
        run("gcc", "-Os", "-static", "-o", self.folder / "pause", HERE / "pause.c")
        script = textwrap.dedent(f"""\
            set -e
            mount --make-rshared /
            mount -t tmpfs none /run
            mount -t tmpfs none /var/lib
            mount -t tmpfs none /var/log
            mkdir -p /var/lib/kubelet {self.folder}/kubelet
            mount --bind {self.folder}/kubelet /var/lib/kubelet
            touch {self.folder}/namespaces-ready
            exec {self.folder}/pause
            """)
        log = open(self.folder / "init.log", "ab")
        self._processes["init"] = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *self.network.prefix, "unshare", "--mount", "--pid", "--fork",
             "--kill-child", "--mount-proc", "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.wait_for((self.folder / "namespaces-ready").exists, "the node's namespaces", 20)
        outer = self._processes["init"].pid
        self._init = int(pathlib.Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])

    def _node_prefix(self):
        return ("nsenter", f"--net=/run/netns/{self.network.name}", f"--mount=/proc/{self._init}/ns/mnt",
                f"--pid=/proc/{self._init}/ns/pid", "--")

    def _start_on_node(self, name, *command):
        log = open(self.folder / f"{name}.log", "ab")
        self._processes[name] = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *self._node_prefix(), *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(os.environ, GOGC="60", GOMAXPROCS="2"))
        log.close()

    def _build_pause(self):
        rootfs = self.folder / "pause-rootfs"
        rootfs.mkdir()
        shutil.copy(self.folder / "pause", rootfs / "pause")
        write_archive(rootfs, [f"{PAUSE}"], self.folder / "pause.tar", {"Cmd": ["/pause"]})

    def _start_containerd(self):
        conf = self.folder / "cni"
        conf.mkdir()
        bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
                  "ipam": {"type": "host-local", "dataDir": str(self.folder / "ipam"),
                           "ranges": [[{"subnet": self.network.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}}
        (conf / "10-bed.conflist").write_text(json.dumps({
            "cniVersion": "0.3.1", "name": "bed",
            "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]}))
        config = self.folder / "containerd.toml"
        # restrict_oom_score_adj: machines without CAP_SYS_RESOURCE may not lower it.
        config.write_text(textwrap.dedent(f"""\
            version = 2
            root = "{self.folder}/containerd"
            state = "/run/containerd"
            [grpc]
              address = "{self.folder}/containerd.sock"
            [plugins."io.containerd.grpc.v1.cri"]
              restrict_oom_score_adj = true
              sandbox_image = "{PAUSE}"
              [plugins."io.containerd.grpc.v1.cri".cni]
                bin_dir = "{CNI}"
                conf_dir = "{conf}"
            """))
        self._start_on_node("containerd", shutil.which("containerd"), "--config", config)

        def answers():
            self._check("containerd")
            try:
                self.ctr("version")
            except RuntimeError:
                return False
            return True
        self.wait_for(answers, "containerd", 60)

    def _start_kubelet(self):
        for mount in _cgroup_mounts():
            path = mount / self._cgroup
            path.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (path / name).exists() and not (path / name).read_text().strip():
                    (path / name).write_text((mount / name).read_text())
        user = self.authority.issue("kubelet", f"/O=system:nodes/CN=system:node:{NODE}",
                                    (f"DNS:{NODE}", f"IP:{self.address}"))
        empty = self.folder / "resolv.conf"
        empty.touch()
        config = self.folder / "kubelet.json"
        config.write_text(json.dumps({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "address": self.address,
            "readOnlyPort": 0, "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                                                  "x509": {"clientCAFile": str(self.authority.certificate)}},
            "authorization": {"mode": "Webhook"}, "tlsCertFile": str(user[0]), "tlsPrivateKeyFile": str(user[1]),
            "containerRuntimeEndpoint": f"unix://{self.folder}/containerd.sock", "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._cgroup}", "failCgroupV1": False, "failSwapOn": False, "oomScoreAdj": 0,
            "clusterDNS": [self.network.outside], "clusterDomain": DOMAIN, "resolvConf": str(empty),
            "imageGCHighThresholdPercent": 100, "volumePluginDir": str(self.folder / "flex"),
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%",
                             "nodefs.inodesFree": "1%"},
            "syncFrequency": "5s", "nodeStatusUpdateFrequency": "5s"}))
        self._start_on_node(
            "kubelet", kube.program_folder() / "kubelet", f"--config={config}",
            f"--kubeconfig={self.write_kubeconfig('kubelet', user)}", f"--hostname-override={NODE}",
            f"--node-ip={self.address}", "--root-dir=/var/lib/kubelet", f"--cert-dir={self.folder}/kubelet-pki")

    def _is_node_ready(self):
        for program in ("containerd", "kubelet", "kube-proxy"):
            self._check(program)
        status, node = self.request("GET", f"/api/v1/nodes/{NODE}")
        return status == 200 and any(c["type"] == "Ready" and c["status"] == "True"
                                     for c in node["status"].get("conditions", []))

    def _check(self, program):
        if self._processes[program].poll() is not None:
            raise kube.NotUp(f"{program} ended: {self.log(program)[-3000:]}")

    def _service_address(self, namespace, name):
        status, service = self.request("GET", f"/api/v1/namespaces/{namespace}/services/{name}")
        return service["spec"].get("clusterIP") if status == 200 else None

    # ---- how it ends

    def stop(self):
        if self._dns is not None:
            self._dns.stop()
            self._dns = None
        folder = str(getattr(self, "folder", "")) or "/nonexistent"
        self.stop_processes()
        self._free_loops(folder)
        self._remove_cgroups()
        self.network.close()
        shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def _free_loops(folder):
        """Ours, and those that the kubelet laid over ours."""
        for _ in range(3):
            ours = set()
            listed = run("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").splitlines()
            for line in listed:
                name, _, file = line.strip().partition(" ")
                if folder in file:
                    ours.add(name)
            for line in listed:
                name, _, file = line.strip().partition(" ")
                if file.strip() in ours:
                    run("losetup", "--detach", name, check=False)
            for name in ours:
                run("losetup", "--detach", name, check=False)
            if not ours:
                return
            time.sleep(0.2)

    def _remove_cgroups(self):
        for mount in _cgroup_mounts():
            for directory, _, _ in os.walk(mount / self._cgroup, topdown=False):
                for _ in range(50):
                    try:
                        os.rmdir(directory)
                        break
                    except OSError:  # its processes are not quite gone yet
                        time.sleep(0.05)


def main():
    if reason := missing():
        sys.exit(reason)
    with NodeBed() as bed:
        for image in sys.argv[1:]:
            bed.import_image(image)
        print(json.dumps(dict(bed.ready(), outside=bed.network.outside, init=bed._init, netns=bed.network.name)),
              flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
