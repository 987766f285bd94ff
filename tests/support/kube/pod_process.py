#!/usr/bin/python3
"""A container's process without a container runtime: a file system of its own, read-only, with nothing writable but what
is mounted; a user without rights; no more. node_stand_in.py starts it.

    pod_process.py SPEC.json      # root, mounts: [[source, target, "ro" or "rw"], ...], user, environment, command
"""
import ctypes
import json
import os
import pathlib
import sys

CLONE_NEWNS, MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 1, 32, 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, SIGKILL = 1, 38, 9
OF_THE_MACHINE = ("usr", "bin", "lib", "lib64", "etc", "proc", "dev", "sys")
LIBC = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    if getattr(LIBC, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}{arguments}: {os.strerror(ctypes.get_errno())}")


def bind(source, target, mode="rw"):
    if os.path.isdir(source):
        pathlib.Path(target).mkdir(parents=True, exist_ok=True)
    else:
        pathlib.Path(target).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(target).touch()
    call("mount", str(source).encode(), str(target).encode(), None, MS_BIND | MS_REC, None)
    if mode == "ro":
        call("mount", None, str(target).encode(), None, MS_REMOUNT | MS_BIND | MS_RDONLY, None)


def main():
    spec = json.loads(pathlib.Path(sys.argv[1]).read_text())
    call("unshare", CLONE_NEWNS)
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    root = pathlib.Path(spec["root"])
    root.mkdir(parents=True, exist_ok=True)
    call("mount", b"tmpfs", str(root).encode(), b"tmpfs", 0, b"mode=0755")
    for name in OF_THE_MACHINE:
        source = pathlib.Path("/", name)
        if source.is_symlink():
            (root / name).symlink_to(os.readlink(source))
        elif source.is_dir():
            bind(source, root / name)
    for source, target, mode in spec["mounts"]:
        bind(source, root / target.lstrip("/"), mode)
    call("mount", None, str(root).encode(), None, MS_REMOUNT | MS_RDONLY, b"mode=0755")
    os.chroot(root)
    os.chdir("/")
    os.setgroups([spec["user"]])
    os.setgid(spec["user"])
    os.setuid(spec["user"])
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    os.execve(spec["command"][0], spec["command"], spec["environment"])


if __name__ == "__main__":
    main()
