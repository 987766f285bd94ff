"""The peers: how each is started, and what each row of the table compares."""
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

GIB = 1 << 30
MIB = 1 << 20


class Figures:
    """One run of one program: wall seconds, CPU seconds, peak memory, and the whole machine's CPU seconds meanwhile."""

    def __init__(self, seconds, cpu, rss_kib, machine_cpu=0):
        self.seconds = seconds
        self.cpu = cpu
        self.rss_kib = rss_kib
        self.machine_cpu = machine_cpu

    def busy(self):
        """The share of all cores that was busy: near 1, no device was waited for."""
        return self.machine_cpu / self.seconds / os.cpu_count()


def machine_cpu_seconds():
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, steal = [int(n) for n in stat.readline().split()[1:9]]
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def run(*commands, check=True):
    """Runs the commands at the same time and waits for all; CPU is their sum, memory the largest."""
    started = time.monotonic()
    busy = machine_cpu_seconds()
    children = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for c in commands]
    cpu = 0.0
    rss = 0
    for child, command in zip(children, commands):
        text = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        cpu += usage.ru_utime + usage.ru_stime
        rss = max(rss, usage.ru_maxrss)
        if check and child.returncode != 0:
            raise RuntimeError("%s failed (%d): %s" % (command[0], child.returncode, text.decode()[-800:]))
    return Figures(time.monotonic() - started, cpu, rss, machine_cpu_seconds() - busy)


def fio_seconds(command):
    """What fio says of its writes and the flush at their end, without its own start."""
    text = subprocess.run([*command, "--output-format=json"], check=True, capture_output=True, text=True).stdout
    job = json.loads(text[text.index("{"):])["jobs"][0]
    flushed = job["sync"]["lat_ns"]["mean"] * job["sync"]["total_ios"] / 1e9
    return job["write"]["runtime"] / 1000 + flushed


def sync_path(path):
    """What a tool without a flush of its own still owes."""
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    os.close(fd)


class Server:
    """A background program with a private directory, ended with the block."""

    def __init__(self, command, ready):
        self.command = command
        self.ready = ready

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 20
        while not self.ready():
            if self.process.poll() is not None:
                raise RuntimeError("%s ended: %s" % (self.command[0], self.process.stderr.read().decode()[-800:]))
            if time.monotonic() > deadline:
                raise RuntimeError("%s does not get ready" % self.command[0])
            time.sleep(0.02)
        return self

    def bytes_read(self):
        """By read calls of the process: of a file server, what it served."""
        with open("/proc/%d/io" % self.process.pid) as io:
            return int(io.readline().split()[1])

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def accepts(path):
    """A server's socket is there before it listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def nbdkit_unix(folder, *arguments, filters=()):
    path = os.path.join(folder, "nbd.sock")
    if os.path.exists(path):
        os.unlink(path)
    command = ["nbdkit", "-f", "-r", "-U", path]
    command += ["--filter=" + f for f in filters] + list(arguments)
    server = Server(command, lambda: accepts(path))
    server.uri = "nbd+unix:///?socket=" + path
    return server


def nbdkit_tcp(port, *arguments, tls=None):
    command = ["nbdkit", "-f", "-r", "-i", "127.0.0.1", "-p", str(port)]
    if tls:
        command += ["--tls=require", "--tls-certificates=" + tls]
    return Server(command + list(arguments), lambda: listens(port))


def make_random(path, size):
    """Incompressible bytes, made once and then in the page cache for everybody."""
    if os.path.exists(path) and os.path.getsize(path) == size:
        subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
        return
    key = "%032x" % 0x5eed
    with open(path + ".part", "wb") as out:
        zeros = subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE)
        subprocess.run(["openssl", "enc", "-aes-128-ctr", "-K", key, "-iv", "0" * 32], stdin=zeros.stdout,
                       stdout=out, check=True)
        zeros.wait()
    os.rename(path + ".part", path)


def make_scattered(path, virtual, data):
    """A sparse file with `data` bytes in pieces of 4 KiB to 4 MiB at random places of `virtual`."""
    if os.path.exists(path) and os.path.getsize(path) == virtual:
        return
    choice = random.Random(7)
    sizes = []
    while sum(sizes) < data:
        sizes.append(min(4096 << choice.randrange(11), data - sum(sizes)))
    # Each in a part of its own, somewhere in it: they do not touch each other.
    part = virtual // len(sizes)
    with open(path, "wb") as out:
        out.truncate(virtual)
        for i, size in enumerate(sizes):
            room = max(0, part - size) // 4096
            out.seek((part * i) // 4096 * 4096 + choice.randrange(room + 1) * 4096)
            out.write(os.urandom(size))


def make_pki(folder):
    """A CA and a server certificate for localhost, in the names that NBD programs expect."""
    os.makedirs(folder, exist_ok=True)
    if os.path.exists(os.path.join(folder, "server-cert.pem")):
        return folder
    here = lambda name: os.path.join(folder, name)
    quiet = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=bench-ca",
                    "-keyout", here("ca-key.pem"), "-out", here("ca-cert.pem")], **quiet)
    subprocess.run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout",
                    here("server-key.pem"), "-out", here("server.csr")], **quiet)
    with open(here("ext"), "w") as ext:
        ext.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    subprocess.run(["openssl", "x509", "-req", "-in", here("server.csr"), "-CA", here("ca-cert.pem"), "-CAkey",
                    here("ca-key.pem"), "-CAcreateserial", "-days", "30", "-extfile", here("ext"), "-out",
                    here("server-cert.pem")], **quiet)
    return folder


def nginx(folder, port, pki, root):
    """HTTPS with ranges over `root`, one worker a core, sendfile where TLS allows."""
    conf = os.path.join(folder, "nginx.conf")
    with open(conf, "w") as out:
        out.write("""
daemon off; worker_processes auto; pid %(f)s/nginx.pid; error_log %(f)s/nginx.err;
events { worker_connections 256; }
http { access_log off; sendfile on; client_body_temp_path %(f)s/b; proxy_temp_path %(f)s/p;
  fastcgi_temp_path %(f)s/fc; uwsgi_temp_path %(f)s/u; scgi_temp_path %(f)s/s;
  server { listen 127.0.0.1:%(port)d ssl; server_name localhost; root %(root)s;
    ssl_certificate %(pki)s/server-cert.pem; ssl_certificate_key %(pki)s/server-key.pem;
    ssl_session_cache shared:s:1m; keepalive_requests 100000; } }
""" % {"f": folder, "port": port, "pki": pki, "root": root})
    return Server([shutil.which("nginx") or "/usr/sbin/nginx", "-c", conf, "-p", folder], lambda: listens(port))


def socket_limit(total):
    """Bytes per second through one Unix socket between two processes with nothing done to them."""
    left, right = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        left.close()
        block = bytearray(os.urandom(MIB))
        for _ in range(total // MIB):
            right.sendall(block)
        os._exit(0)
    right.close()
    into = bytearray(MIB)
    started = time.monotonic()
    seen = 0
    while seen < total:
        got = left.recv_into(into)
        if got == 0:
            break
        seen += got
    seconds = time.monotonic() - started
    left.close()
    os.waitpid(pid, 0)
    return seen / seconds


@contextlib.contextmanager
def thick_volume(folder, size):
    """An ext4 on a loop device whose blocks were all written once and are never given back: what new blocks cost a
    thinly provisioned device is not part of the comparison. Needs root."""
    image, mounted = os.path.join(folder, "volume.img"), os.path.join(folder, "volume")
    os.makedirs(mounted, exist_ok=True)
    run(["dd", "if=/dev/zero", "of=" + image, "bs=4M", "count=%d" % (size // (4 * MIB)), "oflag=direct"])
    device = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", image], check=True, capture_output=True,
                            text=True).stdout.strip()
    try:
        run(["mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", device])
        run(["mount", "-o", "nodiscard", device, mounted])
        try:
            yield mounted
        finally:
            run(["umount", mounted])
    finally:
        run(["losetup", "-d", device])
        os.unlink(image)


def temporary(parent):
    return tempfile.TemporaryDirectory(dir=parent, prefix="bench-")
