"""A virtual machine and everything below it, as Elements."""

import codec
import inventory
from inventory import identity

API = "/ovirt-engine/api"

LINKS = ("disk_attachments", "nics", "cdroms", "watchdogs", "graphics_consoles", "host_devices",
         "reported_devices", "snapshots", "tags")
ACTIONS = ("shutdown", "start", "stop")
NO_MEDIA_SLOT = "00000000-0000-0000-0000-000000000000"

_DEFAULTS = {
    "description": "", "comment": "", "type": "server", "memory": 1 << 30,
    "cpu": {"architecture": "x86_64"}, "cpu_shares": 0, "cpu_pinning_policy": "none",
    "bios": {"boot_menu": {"enabled": False}},
    "os": {"boot": {"devices": {"device": ["hd"]}}},
    "time_zone": {"name": "Etc/GMT"},
    "display": {"type": "vnc", "video_type": "vga", "monitors": 1, "smartcard_enabled": False},
    "high_availability": {"enabled": False, "priority": 0},
    "placement_policy": {"affinity": "migratable"},
    "migration": {"auto_converge": "inherit", "compressed": "inherit", "encrypted": "inherit"},
    "migration_downtime": -1, "io": {"threads": 1}, "usb": {"enabled": False},
    "sso": {"methods": {"method": [{"id": "guest_agent"}]}},
    "stateless": False, "delete_protected": False, "start_paused": False, "run_once": False,
    "use_latest_template_version": False, "next_run_configuration_exists": False,
    "has_illegal_images": False, "tpm_enabled": False, "multi_queues_enabled": True,
    "virtio_scsi_multi_queues_enabled": False, "storage_error_resume_behaviour": "auto_resume",
    "origin": "ovirt", "creation_time": 1690000000000,
}

# Shown only when the request asks for all content.
_ALL_CONTENT = {"console": {"enabled": True}, "virtio_scsi": {"enabled": True},
                "soundcard_enabled": False, "rng_device": {"source": "urandom"}}

# Told by the agent in the guest, so gone when the machine is down.
_FROM_AGENT = ("fqdn", "guest_operating_system", "guest_time_zone")


def ref(path, thing_id):
    """A reference to another object."""
    return {"id": thing_id, "href": "%s/%s/%s" % (API, path, thing_id)}


def vm(model, machine, all_content):
    entry, cluster, href = machine.entry, machine.cluster, "%s/vms/%s" % (API, machine.id)
    memory = machine.tree.get("memory", _DEFAULTS["memory"])
    tree = inventory.merge(_DEFAULTS, {
        "id": machine.id, "href": href, "name": machine.name, "status": machine.status,
        "memory_policy": {"guaranteed": memory, "max": memory * 4, "ballooning": True},
        "bios": {"type": entry.get("bios_type", "cluster_default")},
        "os": {"type": entry.get("os_type", "other")},
        "start_time": machine.start_time, "stop_time": machine.stop_time,
        "cluster": ref("clusters", cluster.id),
        "template": ref("templates", _template(model, entry)),
        "original_template": ref("templates", _template(model, entry)),
        "cpu_profile": ref("cpuprofiles", identity("cpu_profile", cluster.id)),
        # A quota comes without href, as engines send it for machines.
        "quota": {"id": model.by_name("quotas", entry["quota"]).id} if "quota" in entry else None,
        "actions": {"link": [{"rel": a, "href": href + "/" + a} for a in ACTIONS]},
        "link": [{"rel": name.replace("_", ""), "href": href + "/" + name.replace("_", "")}
                 for name in LINKS]})
    tree = inventory.merge(tree, machine.tree)
    if machine.is_alive():
        tree["host"] = ref("hosts", model.hosts[0].id)
        tree.update({key: entry[key] for key in _FROM_AGENT if key in entry})
    if "instance_type" in entry:
        kind = model.by_name("instance_types", entry["instance_type"])
        tree["instance_type"] = ref("instancetypes", kind.id)
    if all_content:
        configuration = {"configuration": {"type": "ovf", "data": "<ovf:Envelope/>"}}
        extra = dict(_ALL_CONTENT, initialization=configuration)
        tree.update(inventory.merge(extra, {k: entry[k] for k in extra if k in entry}))
    result = codec.element("vm", tree)
    if "extra_xml" in entry:
        codec.replace_children(result, entry["extra_xml"])
    return result


def _template(model, entry):
    return model.by_name("templates", entry.get("template", model.templates[0].name)).id


def _below(machine, collection, tag, members):
    href = "%s/vms/%s/%s" % (API, machine.id, collection.replace("_", ""))
    made = []
    for member in members:
        tree = {"id": member["id"], "href": href + "/" + member["id"]}
        tree.update(member)
        tree["vm"] = ref("vms", machine.id)
        made.append(codec.element(tag, tree))
    return codec.collection(collection, made)


def disk_attachments(_model, machine):
    return _below(machine, "disk_attachments", "disk_attachment",
                  [dict(disk.attachment, id=disk.id, disk=ref("disks", disk.id))
                   for disk in machine.disks + machine.attached])


def nics(_model, machine):
    members = []
    for nic in machine.nics:
        href = "%s/vms/%s/nics/%s" % (API, machine.id, nic.id)
        profile = ref("vnicprofiles", nic.profile.id) if nic.profile else None
        members.append(dict(nic.tree, id=nic.id, name=nic.name, mac={"address": nic.mac},
                            vnic_profile=profile,
                            link=[{"rel": "reporteddevices", "href": href + "/reporteddevices"}]))
    return _below(machine, "nics", "nic", members)


def nic_reported_devices(_model, machine, nic_id):
    nic = next((n for n in machine.nics if n.id == nic_id), None)
    if nic is None:
        return None
    return _reported(machine, [nic])


def reported_devices(_model, machine):
    return _reported(machine, machine.nics)


def _reported(machine, of_nics):
    if not machine.is_alive():
        of_nics = []
    members = []
    for index, nic in enumerate(n for n in of_nics if n.ips):
        ips = [{"address": ip, "version": "v6" if ":" in ip else "v4"} for ip in nic.ips]
        members.append({"id": identity("reported", nic.id), "name": "eth%d" % index,
                        "type": "network", "mac": {"address": nic.mac}, "ips": {"ip": ips}})
    return _below(machine, "reported_devices", "reported_device", members)


def cdroms(_model, machine):
    file = machine.entry.get("cdrom")
    # The file is an attribute of an element that stays when there is no media.
    return _below(machine, "cdroms", "cdrom",
                  [{"id": NO_MEDIA_SLOT, "file": {"id": file} if file else {}}])


def watchdogs(_model, machine):
    return _numbered(machine, "watchdogs", "watchdog")


def host_devices(_model, machine):
    return _numbered(machine, "host_devices", "host_device")


def _numbered(machine, collection, tag):
    members = [dict({"id": identity(tag, machine.id, str(index))}, **entry)
               for index, entry in enumerate(machine.entry.get(collection, []))]
    return _below(machine, collection, tag, members)


def graphics_consoles(_model, machine):
    members = []
    for protocol in machine.entry.get("graphics_consoles", ["vnc"]):
        member = {"id": protocol.encode().hex(), "protocol": protocol}
        if machine.is_alive():
            member.update({"address": "127.0.0.1", "port": 5900})
        members.append(member)
    return _below(machine, "graphics_consoles", "graphics_console", members)


def snapshots(_model, machine):
    members = [{"id": identity("snapshot", machine.id, "active"), "description": "Active VM",
                "date": 1690000000000, "snapshot_type": "active", "snapshot_status": "ok",
                "persist_memorystate": False}]
    for index, entry in enumerate(machine.entry.get("snapshots", [])):
        members.append(dict({"id": identity("snapshot", machine.id, str(index)),
                             "date": 1690000001000 + index, "snapshot_type": "regular",
                             "snapshot_status": "ok", "persist_memorystate": False}, **entry))
    return _below(machine, "snapshots", "snapshot", members)


def tags(model, machine):
    return codec.collection("tags", [tag(model, name) for name in machine.entry.get("tags", [])])


def tag(_model, name):
    own = identity("tag", name)
    return codec.element("tag", dict(ref("tags", own), name=name, description=""))


COLLECTIONS = {name.replace("_", ""): globals()[name] for name in LINKS}
