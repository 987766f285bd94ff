"""What the engine manages, read from a bed file; the README describes the file.

Objects hold their state in a tree of the API's JSON shape. What a bed file leaves out gets
the values a fresh engine would show; keys of an object this module does not know go into
its tree unchanged, so every element of the API can be set.
"""

import json
import os
import re
import threading
import uuid

import disks

BLANK_TEMPLATE = "00000000-0000-0000-0000-000000000000"

ENGINE_DEFAULTS = {
    "version": "4.5.4-1.el8",          # product_info.version.full_version
    "follow": "strict",                # strict: unknown names 400; lenient: ignored; off
    "search_case_sensitive": True,     # when the request does not say
    "json_scalars": "strings",         # or native
    "sso": True,                       # False: the token address does not exist
    "token_in_array": False,
    "bad_credentials_status": 400,
    "session_idle_seconds": 1800,
    "initializing_seconds": 0.5,
    "finalizing_seconds": 0.5,
    "unlock_seconds": 0.3,             # disk stays locked this long after finished_*
    "finished_kept_seconds": 900,      # 0: the entity vanishes when it finishes (before 4.4.7)
    "inactivity_timeout": 60,
    "ticket_timeout": 300,
    "monitor_seconds": 0.25,
    "max_readers": 8,
    "remove_timeout": 60,              # how long the host waits for running requests
    "transfer_host": None,             # host name in transfer_url instead of the real address
    "transfer_url": True,              # False: the engine does not name the host's address
    "proxy_url": True,
}


class BadBed(ValueError):
    """A bed file that cannot be used; the text says where."""


def identity(*names):
    """A stable id for a named object, so that runs of the same bed agree."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(names)))


def merge(base, over):
    """base with over laid on top, dicts merged deeply; neither is changed."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if both else value
    return result


class Entity:
    """A named object: kind (its element name), id and tree."""

    def __init__(self, kind, entry, defaults, *scope):
        entry = {"name": entry} if isinstance(entry, str) else dict(entry)
        if not entry.get("name"):
            raise BadBed("a %s has no name" % kind)
        self.kind = kind
        self.name = entry.pop("name")
        self.id = entry.pop("id", None) or identity(kind, *scope, self.name)
        self.tree = merge(dict(defaults, name=self.name), entry)


class Vm:
    """A virtual machine. status changes over time; see power.py."""

    KEYS = ("id", "name", "cluster", "status", "bios_type", "os_type", "shutdown_seconds",
            "start_seconds", "extra_xml", "disks", "nics", "watchdogs", "cdrom",
            "graphics_consoles", "host_devices", "snapshots", "tags", "fqdn",
            "guest_operating_system", "guest_time_zone", "instance_type", "quota",
            "template", "attach", "start_time", "stop_time", "console", "virtio_scsi",
            "soundcard_enabled", "rng_device", "initialization")

    def __init__(self, entry, model):
        self.name = entry.get("name")
        if not self.name:
            raise BadBed("a vm has no name")
        self.cluster = model.by_name("clusters", entry.get("cluster", model.clusters[0].name))
        self.id = entry.get("id") or identity("vm", self.cluster.name, self.name)
        self.status = entry.get("status", "down")
        self.entry = entry
        cpu = dict(entry.get("cpu", {}))
        topology = {k: cpu.pop(k) for k in ("sockets", "cores", "threads") if k in cpu}
        self.tree = {k: v for k, v in entry.items() if k not in self.KEYS}
        self.tree["cpu"] = merge({"topology": dict({"cores": 1, "sockets": 1, "threads": 1},
                                                   **topology)}, cpu)
        self.start_time = entry.get("start_time", 1700000000000 if self.is_alive() else None)
        self.stop_time = entry.get("stop_time", None if self.is_alive() else 1700000600000)
        seconds = entry.get("shutdown_seconds", 1)
        self.ignores_shutdown = seconds == "ignored"
        self.shutdown_seconds = None if seconds in (None, "never", "ignored") else float(seconds)
        self.start_seconds = float(entry.get("start_seconds", 1))
        self.nics = [Nic(n, i, self, model) for i, n in enumerate(entry.get("nics", []))]
        self.disks, self.attached = [], []
        for index, disk in enumerate(entry.get("disks", [])):
            self.disks.append(disks.Disk(disk, self, index, model))

    def is_alive(self):
        return self.status not in ("down", "image_locked", "suspended")


class Nic:
    KEYS = ("id", "name", "profile", "mac", "ips", "interface", "plugged", "linked")

    def __init__(self, entry, index, vm, model):
        self.name = entry.get("name", "nic%d" % (index + 1))
        self.id = entry.get("id") or identity("nic", vm.id, self.name)
        self.mac = entry.get("mac") or _mac(self.id)
        self.ips = entry.get("ips", [])
        profile = entry.get("profile", model.profiles[0].id)
        self.profile = None if profile is None else model.profile(profile)
        self.tree = dict({"interface": entry.get("interface", "virtio"),
                          "linked": entry.get("linked", True),
                          "plugged": entry.get("plugged", True), "synced": True},
                         **{k: v for k, v in entry.items() if k not in self.KEYS})


def _mac(name_id):
    digits = name_id.replace("-", "")
    return "56:6f:1a:%s:%s:%s" % (digits[0:2], digits[2:4], digits[4:6])


class Inventory:
    """All objects of one engine. Hold `lock` to read or change what changes over time."""

    def __init__(self, bed, directory):
        self.lock = threading.RLock()
        self.commit = lambda: None  # keeps what changed, where a database is open; lock held
        self.directory = directory
        unknown = set(bed.get("engine", {})) - set(ENGINE_DEFAULTS)
        if unknown:
            raise BadBed("unknown engine settings: " + ", ".join(sorted(unknown)))
        self.settings = dict(ENGINE_DEFAULTS, **bed.get("engine", {}))
        self.data_centers = self._read(bed, "data_centers", "data_center", ["Default"],
                                       {"status": "up", "local": False})
        self.clusters = self._read(bed, "clusters", "cluster", ["Default"], {
            "version": {"major": 4, "minor": 7}, "bios_type": "q35_ovmf",
            "cpu": {"architecture": "x86_64", "type": "Intel Nehalem Family"},
            "switch_type": "legacy", "firewall_type": "firewalld", "ballooning_enabled": True,
            "ha_reservation": False, "threads_as_cores": False, "ksm": {"enabled": True},
            "required_rng_sources": {"required_rng_source": ["urandom"]}})
        self.storage_domains = self._read(bed, "storage_domains", "storage_domain", ["data"], {
            "type": "data", "status": "active", "master": True, "available": 500 << 30,
            "used": 100 << 30, "committed": 0, "block_size": 512, "storage_format": "v5",
            "storage": {"type": "nfs", "address": "storage.test", "path": "/exports/data"},
            "supports_discard": True, "discard_after_delete": False, "wipe_after_delete": False})
        self.hosts = self._read(bed, "hosts", "host", ["host1"],
                                {"status": "up", "address": "127.0.0.1", "type": "ovirt_node"})
        self.instance_types = self._read(bed, "instance_types", "instance_type", ["Small"], {
            "memory": 2 << 30, "cpu": {"topology": {"cores": 1, "sockets": 1, "threads": 1}},
            "high_availability": {"enabled": False, "priority": 0}})
        self.quotas = self._read(bed, "quotas", "quota", ["Default"], {
            "cluster_soft_limit_pct": 80, "cluster_hard_limit_pct": 20,
            "storage_soft_limit_pct": 80, "storage_hard_limit_pct": 20})
        self.templates = self._read(bed, "templates", "template",
                                    [{"name": "Blank", "id": BLANK_TEMPLATE}],
                                    {"status": "ok", "type": "server"})
        self._read_networks(bed)
        self.vms = [Vm(entry, self) for entry in bed.get("vms", [])]
        self.loose_disks = [disks.Disk(entry, None, i, self)
                            for i, entry in enumerate(bed.get("disks", []))]
        for vm in self.vms:
            for name in vm.entry.get("attach", []):
                vm.attached.append(self.by_name("loose_disks", name))
        self.tags = sorted({tag for vm in self.vms for tag in vm.entry.get("tags", [])})
        self._refuse_duplicates()

    def _read(self, bed, key, kind, default, defaults):
        return [Entity(kind, entry, defaults) for entry in bed.get(key) or default]

    def _read_networks(self, bed):
        self.networks, self.profiles = [], []
        for entry in bed.get("networks") or ["ovirtmgmt"]:
            entry = {"name": entry} if isinstance(entry, str) else dict(entry)
            wanted = entry.pop("vnic_profiles", [entry.get("name")])
            if isinstance(entry.get("vlan"), int):
                entry["vlan"] = {"id": entry["vlan"]}
            network = Entity("network", entry, {
                "vdsm_name": entry.get("name"), "mtu": 0, "stp": False, "required": True,
                "port_isolation": False, "usages": {"usage": ["vm"]}})
            self.networks.append(network)
            for profile in wanted:
                made = Entity("vnic_profile", profile, {
                    "port_mirroring": False, "migratable": True,
                    "pass_through": {"mode": "disabled"}}, network.name)
                made.network = network
                self.profiles.append(made)

    def _refuse_duplicates(self):
        seen = set()
        for thing in self.vms + self.all_disks() + self.networks + self.profiles:
            if thing.id in seen:
                raise BadBed("the id %s is used twice (%s)" % (thing.id, thing.name))
            seen.add(thing.id)

    def by_name(self, kind, name):
        """The object of that name or id in a list of this inventory; raises BadBed."""
        for thing in getattr(self, kind):
            if name in (thing.name, thing.id):
                return thing
        raise BadBed("there is no %s in %s" % (name, kind))

    def profile(self, name):
        """A vNIC profile by id, name or network/name; raises BadBed."""
        found = [p for p in self.profiles
                 if name in (p.id, p.name, p.network.name + "/" + p.name)]
        if len(found) != 1:
            raise BadBed("vnic profile %s: %d matches" % (name, len(found)))
        return found[0]

    def all_disks(self):
        return [disk for vm in self.vms for disk in vm.disks] + self.loose_disks

    def disk(self, disk_id):
        return next((disk for disk in self.all_disks() if disk.id == disk_id), None)

    def vm(self, vm_id):
        return next((vm for vm in self.vms if vm.id == vm_id), None)

    def version(self):
        """product_info.version of the configured release."""
        full = self.settings["version"]
        numbers = [int(n) for n in re.findall(r"[0-9]+", full)[:4]] + [0] * 4
        return dict(zip(("major", "minor", "build", "revision"), numbers), full_version=full)


def load(path):
    """Reads a bed file; image paths in it are relative to its directory. Raises BadBed."""
    try:
        with open(path, encoding="utf-8") as file:
            bed = json.load(file)
    except (OSError, ValueError) as error:
        raise BadBed("cannot read %s: %s" % (path, error)) from None
    return Inventory(bed, os.path.dirname(os.path.abspath(path)))
