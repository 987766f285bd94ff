"""A container image out of a folder, without a registry, a daemon or root: a docker-archive, which `ctr images import`,
`podman load` and `docker load` read. The same folder gives the same bytes."""
import hashlib
import io
import json
import os
import tarfile
import tempfile


def write_archive(rootfs, names, out, config):
    """rootfs: the folder. names: such as ["localhost/vmferry:0.1"]. config: Env, Cmd, Labels as in the image
    specification. All files belong to root. Returns the image's id."""
    with tempfile.TemporaryFile(dir=os.path.dirname(os.path.abspath(out))) as layer:
        _write_layer(rootfs, layer)
        digest = _digest(layer)
        image = json.dumps({"architecture": _architecture(), "os": "linux", "config": config,
                            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                            "history": [{"created_by": "make_image.py"}]}, sort_keys=True).encode()
        image_id = hashlib.sha256(image).hexdigest()
        manifest = json.dumps([{"Config": f"{image_id}.json", "RepoTags": list(names),
                                "Layers": [f"{digest}/layer.tar"]}]).encode()
        unfinished = f"{out}.new"
        with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as archive:
            for name, content in ((f"{image_id}.json", image), ("manifest.json", manifest)):
                archive.addfile(_entry(name, len(content)), io.BytesIO(content))
            size = layer.seek(0, os.SEEK_END)
            layer.seek(0)
            archive.addfile(_entry(f"{digest}/layer.tar", size), layer)
        os.replace(unfinished, out)
    return image_id


def _write_layer(rootfs, file):
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as layer:
        for name in _sorted_tree(rootfs):
            layer.add(os.path.join(rootfs, name), arcname=name, recursive=False, filter=_anonymous)


def _sorted_tree(rootfs):
    found = []
    for directory, folders, files in os.walk(rootfs):
        for name in folders + files:
            found.append(os.path.relpath(os.path.join(directory, name), rootfs))
    return sorted(found)


def _anonymous(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def _entry(name, size):
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry


def _digest(file):
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _architecture():
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
