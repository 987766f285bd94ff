"""One qemu-nbd per transfer, on a unix socket, as a real host runs it."""

import json
import os
import threading
import time

import processes


class NbdServers:
    """Starts servers whose sockets live in runtime_dir and whose output in log_path."""

    def __init__(self, runtime_dir, log_path, shared):
        self._directory = runtime_dir
        self._log_path = log_path
        self._shared = shared
        self._lock = threading.Lock()
        self._count = 0

    def serve(self, image, image_format, shallow):
        """Serves an image read-only; raises OSError when qemu-nbd does not come up."""
        with self._lock:
            self._count += 1
            path = os.path.join(self._directory, "nbd%d" % self._count)
        name, driver = image, "qcow2" if image_format == "cow" else "raw"
        command = ["qemu-nbd", "--read-only", "--persistent", "--shared=%d" % self._shared,
                   "--socket=" + path, "--export-name=",
                   "--allocation-depth"]
        if shallow and driver == "qcow2":
            name = layer_alone(image)
        else:
            command.append("--format=" + driver)
        return NbdServer(command + [name], path, self._log_path)


def layer_alone(image):
    """A name for a qcow2 image without the images below it."""
    return "json:" + json.dumps({"driver": "qcow2", "backing": None,
                                 "file": {"driver": "file", "filename": image}})


class NbdServer:
    def __init__(self, command, path, log_path):
        self.path = path
        with open(log_path, "ab") as log:
            self._process = processes.spawn(command, log)
        deadline = time.monotonic() + 10
        while not os.path.exists(path):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise OSError("qemu-nbd did not start; see " + log_path)
            time.sleep(0.02)

    def url(self):
        """The URL imageio takes in a ticket."""
        return "nbd:unix:%s:exportname=" % self.path

    def stop(self):
        processes.end(self._process)
        if os.path.exists(self.path):
            os.unlink(self.path)
