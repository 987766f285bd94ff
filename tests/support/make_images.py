#!/usr/bin/env python3
"""Makes the small disk images that tests copy: make_images.py DIR [--scale F] [--only NAME...]

Every byte follows from the seed; nothing is fetched. An image that is there, unchanged since its
digest was written beside it, is kept. Prints a JSON list of {name, path, size, sha256, allocated_bytes}.
Needs mke2fs and debugfs (e2fsprogs). Directory order, and with it the place of files in a filesystem, may differ
between machines; on one machine all is the same each time.

  bootable      MBR with boot code and one active partition holding an ext4 filesystem with files     96 MiB
  efi           protective MBR, GPT (both copies), an EFI system partition formatted as ext4          64 MiB
  sparse-data   mostly holes; data at odd places, the first and last sector and across MiB borders   192 MiB
  dense         incompressible, no zero page                                                        256 MiB
  odd-size      a multiple of 512 but not of 4096                                             about 5 MiB
"""
import argparse
import binascii
import fcntl
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import uuid

MIB = 1 << 20
SECTOR = 512
SEED = "vmferry test images 3"  # change it when what is written changes: old images are then made anew
FIXED_TIME = 1700000000


def noise(seed: str, size: int) -> bytes:
    """Bytes that neither compress nor repeat: SHAKE-128 of the seed (about 400 MB/s, the same everywhere)."""
    return hashlib.shake_128(f"{SEED}/{seed}".encode()).digest(size)


def empty(path: str, size: int) -> None:
    with open(path, "wb") as image:
        image.truncate(size)


def write_at(path: str, offset: int, data: bytes) -> None:
    with open(path, "r+b") as image:
        image.seek(offset)
        image.write(data)


def filesystem(path: str, size: int, label: str) -> None:
    """An ext4 filesystem with a little of everything a guest has: text, binaries, deep folders, a hole, links."""
    rng = random.Random(f"{SEED}/{label}")
    with tempfile.TemporaryDirectory() as tree:
        for folder in ("etc", "boot", "var/log/app", "home/user/deep/er"):
            os.makedirs(f"{tree}/{folder}")
        for name, text in (("etc/fstab", f"LABEL={label} / ext4 defaults 0 1\n"), ("etc/hostname", f"{label}\n"),
                           ("boot/cmdline", f"root=LABEL={label} ro quiet\n")):
            with open(f"{tree}/{name}", "w", encoding="ascii") as file:
                file.write(text)
        budget = size // 3  # the filesystem keeps free space: real disks have it
        for number in range(40):
            length = min(rng.choice((100, 5000, 70_000, 400_000, 2_000_000)), budget // 4)
            budget -= length
            folder = rng.choice(("boot", "var/log/app", "home/user/deep/er"))
            with open(f"{tree}/{folder}/file{number}", "wb") as file:
                file.write(noise(f"{label}/{number}", length))
        with open(f"{tree}/home/user/hole", "wb") as file:
            file.truncate(min(8 * MIB, size // 8))
        os.symlink("../etc/hostname", f"{tree}/home/link")
        for folder, folders, files in os.walk(tree, topdown=False):
            for name in folders + files:
                os.utime(f"{folder}/{name}", (FIXED_TIME, FIXED_TIME), follow_symlinks=False)
        os.utime(tree, (FIXED_TIME, FIXED_TIME))
        entries = sum(len(folders) + len(files) for _, folders, files in os.walk(tree))
        empty(path, size)
        identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{SEED}/{label}"))
        environment = dict(os.environ, SOURCE_DATE_EPOCH=str(FIXED_TIME), E2FSPROGS_FAKE_TIME=str(FIXED_TIME),
                           PATH=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
        # No journal and no lazy tables: small, and the same bytes each time.
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", label, "-U", identity, "-O", "^has_journal",
                        "-E", f"hash_seed={identity},lazy_itable_init=0,root_owner=0:0", "-d", tree, path],
                       check=True, env=environment, stdout=subprocess.DEVNULL)
        # mke2fs copies times of the tree that nobody can set: level them. 2 is the root, 11 is lost+found.
        levels = "".join(f"set_inode_field <{inode}> {time} @{FIXED_TIME}\n"
                         for inode in (2, *range(11, 12 + entries)) for time in ("ctime", "atime"))
        subprocess.run(["debugfs", "-w", "-f", "/dev/stdin", path], check=True, env=environment, input=levels.encode(),
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def put_filesystem(path: str, start: int, size: int, label: str) -> None:
    """Copies a fresh filesystem into the partition, leaving its holes holes."""
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), suffix=".fs") as part:
        filesystem(part.name, size, label)
        with open(part.name, "rb") as source, open(path, "r+b") as target:
            offset = 0
            while block := source.read(64 << 10):
                if block.strip(b"\0"):
                    target.seek(start + offset)
                    target.write(block)
                offset += len(block)


# 16-bit code that prints the line behind it (at 0x7c1f) through the BIOS and halts: a guest that boots from this disk
# says so.
BOOT_MESSAGE = b"vmferry test disk booted\r\n\0"
BOOT_CODE = bytes.fromhex("fa 31c0 8ed8 8ec0 8ed0 bc007c fb be1f7c ac 08c0 7407 b40e cd10 ebf5 90 f4 ebfd")


def mbr(partition_type: int, first: int, count: int, active: bool) -> bytes:
    code = (BOOT_CODE + BOOT_MESSAGE).ljust(440, b"\0") + struct.pack("<IH", 0x7665726D, 0)
    entry = struct.pack("<B3sB3sII", 0x80 if active else 0, b"\xfe\xff\xff", partition_type, b"\xfe\xff\xff", first, count)
    return code + entry + bytes(48) + b"\x55\xaa"


def make_bootable(path: str, size: int) -> None:
    empty(path, size)
    write_at(path, 0, mbr(0x83, MIB // SECTOR, (size - MIB) // SECTOR, True))
    put_filesystem(path, MIB, size - MIB, "bootable")


def make_efi(path: str, size: int) -> None:
    empty(path, size)
    sectors = size // SECTOR
    first, last = MIB // SECTOR, sectors - MIB // SECTOR - 1
    system_partition = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
    own = uuid.uuid5(uuid.NAMESPACE_URL, f"{SEED}/efi-partition")
    entries = struct.pack("<16s16sQQQ72s", system_partition.bytes_le, own.bytes_le, first, last, 0,
                          "EFI system partition".encode("utf-16-le")).ljust(128 * 128, b"\0")
    disk = uuid.uuid5(uuid.NAMESPACE_URL, f"{SEED}/efi-disk")

    def header(here: int, other: int, table: int) -> bytes:
        def pack(crc: int) -> bytes:
            return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, here, other, 34, sectors - 34,
                               disk.bytes_le, table, 128, 128, binascii.crc32(entries))
        return pack(binascii.crc32(pack(0))).ljust(SECTOR, b"\0")

    write_at(path, 0, mbr(0xEE, 1, sectors - 1, False))
    write_at(path, SECTOR, header(1, sectors - 1, 2))
    write_at(path, 2 * SECTOR, entries)
    write_at(path, (sectors - 33) * SECTOR, entries)
    write_at(path, (sectors - 1) * SECTOR, header(sectors - 1, 1, sectors - 33))
    put_filesystem(path, MIB, size - 2 * MIB, "efi")


def make_sparse(path: str, size: int) -> None:
    empty(path, size)
    rng = random.Random(f"{SEED}/sparse")
    write_at(path, 0, noise("sparse/first", SECTOR))
    write_at(path, size - SECTOR, noise("sparse/last", SECTOR))
    for number in range(24):
        length = rng.choice((SECTOR, 3 * SECTOR, 4096, 65536, 300 * SECTOR, MIB + 7 * SECTOR))
        start = rng.randrange(0, (size - length) // SECTOR) * SECTOR
        if number % 3 == 0:  # across a border of 1 MiB
            start = max(SECTOR, start // MIB * MIB - SECTOR)
        write_at(path, start, noise(f"sparse/{number}", length))
    # Allocated zeros: data to the filesystem, zero to the reader.
    write_at(path, size // 2 // MIB * MIB, bytes(2 * MIB))


def make_dense(path: str, size: int) -> None:
    with open(path, "wb") as image:
        for start in range(0, size, 4 * MIB):
            image.write(noise(f"dense/{start}", min(4 * MIB, size - start)))


def make_odd(path: str, size: int) -> None:
    empty(path, size)
    write_at(path, 0, noise("odd/head", 2 * MIB))
    write_at(path, size - 5 * SECTOR, noise("odd/tail", 5 * SECTOR))


IMAGES = {  # name -> (maker, size at scale 1, least size)
    "bootable": (make_bootable, 96 * MIB, 16 * MIB),
    "sparse-data": (make_sparse, 192 * MIB, 8 * MIB),
    "dense": (make_dense, 256 * MIB, 4 * MIB),
    "efi": (make_efi, 64 * MIB, 16 * MIB),
    "odd-size": (make_odd, 5 * MIB, 5 * MIB),
}


def size_of(name: str, scale: float) -> int:
    size = max(IMAGES[name][2], int(IMAGES[name][1] * scale) // MIB * MIB)
    return size + 13 * SECTOR if name == "odd-size" else size


def digest(path: str) -> str:
    total = hashlib.sha256()
    with open(path, "rb") as image:
        while block := image.read(4 * MIB):
            total.update(block)
    return total.hexdigest()


def provide(directory: str, name: str, scale: float) -> dict:
    """Makes the image unless the note beside it says that it is there."""
    path, size = os.path.join(directory, f"{name}.raw"), size_of(name, scale)
    note = f"{path}.json"
    try:
        with open(note, encoding="utf-8") as file:
            known = json.load(file)
        status = os.stat(path)
        if known["made_from"] == [SEED, size] and known["mtime_ns"] == status.st_mtime_ns and status.st_size == size:
            return known["entry"]
    except (OSError, ValueError, KeyError):
        pass  # absent or unreadable: make it
    partial = f"{path}.partial"
    IMAGES[name][0](partial, size)
    os.rename(partial, path)
    status = os.stat(path)
    entry = {"name": name, "path": path, "size": size, "sha256": digest(path), "allocated_bytes": status.st_blocks * 512}
    with open(f"{note}.partial", "w", encoding="utf-8") as file:
        json.dump({"made_from": [SEED, size], "mtime_ns": status.st_mtime_ns, "entry": entry}, file)
    os.rename(f"{note}.partial", note)
    return entry


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all sizes (each has a least size)")
    parser.add_argument("--only", nargs="+", choices=sorted(IMAGES), default=list(IMAGES), metavar="NAME")
    arguments = parser.parse_args()
    if not any(shutil.which("mke2fs", path=p) for p in (None, "/sbin:/usr/sbin")):
        sys.exit("make_images.py: mke2fs is missing: apt-get install e2fsprogs")
    directory = os.path.abspath(arguments.directory)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two tests may ask at once
        print(json.dumps([provide(directory, name, arguments.scale) for name in arguments.only], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
