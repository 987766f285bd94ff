"""What the builtin imageio reads from: an image as the guest sees it, or file bytes."""

import hashlib
import json
import os
import subprocess
import tempfile

import qemu_nbd

_BUFFER_BYTES = 8 << 20


class Image:
    """Read-only bytes and their extents. Safe to use from several threads."""

    def __init__(self, path, size, extents, temporary):
        self.size = size
        self._extents = extents
        self._temporary = temporary
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._path = path

    @classmethod
    def guest_view(cls, path, image_format, shallow, runtime_dir):
        """A qcow2 chain is collapsed into a sparse file; raises OSError."""
        if image_format == "raw":
            return cls(path, os.path.getsize(path), _mapped(path, "raw"), temporary=False)
        name = qemu_nbd.layer_alone(path) if shallow else path
        source = [] if shallow else ["-f", "qcow2"]
        handle, flat = tempfile.mkstemp(dir=runtime_dir, prefix="flat")
        os.close(handle)
        try:
            _run(["qemu-img", "convert", "-U"] + source + ["-O", "raw", name, flat])
            return cls(flat, os.path.getsize(flat), _mapped(name, None if shallow else "qcow2"),
                       temporary=True)
        except OSError:
            os.unlink(flat)
            raise

    @classmethod
    def file_bytes(cls, path):
        """The file as it lies there: no holes are known."""
        size = os.path.getsize(path)
        whole = [{"start": 0, "length": size, "zero": False, "hole": False}]
        return cls(path, size, whole, temporary=False)

    def read(self, offset, length):
        return os.pread(self._fd, length, offset)

    def extents(self):
        return self._extents

    def checksum(self, algorithm, block_size, keep_going):
        """Hash of the hashes of all blocks; None when keep_going() turns false."""
        make = _hash(algorithm)
        root, offset = make(), 0
        while offset < self.size:
            if not keep_going():
                return None
            block = self.read(offset, min(block_size, self.size - offset))
            leaf = make()
            leaf.update(block)
            root.update(leaf.digest())
            offset += len(block)
        return root.hexdigest()

    def stop(self):
        """Named like the other servers' end: closes and removes what was made."""
        os.close(self._fd)
        if self._temporary:
            os.unlink(self._path)


def _hash(algorithm):
    if algorithm.startswith("blake2"):
        return lambda: hashlib.new(algorithm, digest_size=32)
    return lambda: hashlib.new(algorithm)


def _run(command):
    try:
        return subprocess.run(command, check=True, capture_output=True, timeout=600).stdout
    except subprocess.CalledProcessError as error:
        raise OSError(error.stderr.decode(errors="replace").strip()) from None
    except subprocess.TimeoutExpired as error:
        raise OSError(str(error)) from None


def _mapped(name, driver):
    """Extents as a daemon on qemu-nbd reports them.

    A hole is what no image of the chain has; below the end of a shorter backing file the
    zeros count as allocated.
    """
    source = ["-f", driver] if driver else []
    found = json.loads(_run(["qemu-img", "map", "-U", "--output=json"] + source + [name]))
    deepest = max((each["depth"] for each in found), default=0)
    result = []
    for each in found:
        hole = not each["present"] and each["depth"] == deepest
        last = result[-1] if result else None
        if last and (last["zero"], last["hole"]) == (each["zero"], hole):
            last["length"] += each["length"]
        else:
            result.append({"start": each["start"], "length": each["length"],
                           "zero": each["zero"], "hole": hole})
    return result
