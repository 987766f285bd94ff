"""Which path shows what: the resources below /ovirt-engine/api."""

import time

import codec
import search
import vm_view
from faults import not_found
from inventory import identity
from vm_view import API, ref


class Views:
    """Reads the model; every method expects model.lock to be held."""

    def __init__(self, model, transfers):
        self._model = model
        self._transfers = transfers
        self._plain = {
            # path: (list element, the objects, element of one)
            "vms": ("vms", lambda: model.vms, None),
            "disks": ("disks", model.all_disks, self.disk),
            "clusters": ("clusters", lambda: model.clusters, self._cluster),
            "storagedomains": ("storage_domains", lambda: model.storage_domains, self._domain),
            "networks": ("networks", lambda: model.networks, self._network),
            "vnicprofiles": ("vnic_profiles", lambda: model.profiles, self._profile),
            "instancetypes": ("instance_types", lambda: model.instance_types, self._entity),
            "datacenters": ("data_centers", lambda: model.data_centers, self._data_center),
            "hosts": ("hosts", lambda: model.hosts, self._host),
            "templates": ("templates", lambda: model.templates, self._entity),
            "imagetransfers": ("image_transfers", transfers.visible, transfers.view),
        }

    def get(self, path, query, all_content=False):
        """The Element at path (below API, split at slashes).

        Raises Fault 404 for an object that is not there, search.BadQuery; returns None for
        a path the API does not have.
        """
        if not path:
            return self._root()
        kind, rest = path[0], path[1:]
        if kind == "tags":
            return self._tags(rest)
        if kind not in self._plain:
            return None
        list_tag, objects, view = self._plain[kind]
        if view is None:
            def view(machine):
                return vm_view.vm(self._model, machine, all_content)
        if not rest:
            return codec.collection(list_tag, [view(o) for o in self._search(objects(), query)])
        found = next((o for o in objects() if o.id == rest[0]), None)
        if found is None:
            raise not_found(list_tag[:-1], rest[0])
        if len(rest) == 1:
            return view(found)
        return self._below(kind, found, rest[1:], query)

    def _below(self, kind, parent, rest, query):
        members = None
        if kind == "vms" and rest[0] in vm_view.COLLECTIONS:
            if rest[0] == "nics" and len(rest) == 3 and rest[2] == "reporteddevices":
                members, rest = vm_view.nic_reported_devices(self._model, parent, rest[1]), rest[:1]
                if members is None:
                    raise not_found("nic", rest[1] if len(rest) > 1 else "")
            else:
                members = vm_view.COLLECTIONS[rest[0]](self._model, parent)
        elif kind == "networks" and rest[0] == "vnicprofiles":
            members = codec.collection("vnic_profiles", [self._profile(p) for p in
                                       self._model.profiles if p.network is parent])
        elif kind == "datacenters" and rest[0] == "quotas":
            members = codec.collection("quotas", [self._quota(q) for q in self._model.quotas])
        elif kind == "storagedomains" and rest[0] == "disksnapshots":
            members = codec.collection("disk_snapshots", self._disk_snapshots(parent, query))
        elif kind == "storagedomains" and rest[0] == "disks":
            members = codec.collection("disks", [self.disk(d) for d in self._model.all_disks()
                                                 if d.storage_domain is parent])
        if members is None or len(rest) > 2:
            return None
        if len(rest) == 1:
            return members
        for member in members:
            if member.get("id") == rest[1]:
                return member
        raise not_found(rest[0], rest[1])

    def _search(self, objects, query):
        limit = query.get("max")
        try:
            limit = None if limit is None else int(limit)
        except ValueError:
            raise search.BadQuery("max is not a number") from None
        if not query.get("search"):
            return objects if limit is None or limit < 0 else objects[:limit]
        fallback = "true" if self._model.settings["search_case_sensitive"] else "false"
        sensitive = query.get("case_sensitive", fallback).lower() == "true"
        return search.run(objects, query["search"], self._fields(), limit, sensitive)

    def _fields(self):
        center = self._model.data_centers[0].name
        return {
            "name": lambda o: o.name, "alias": lambda o: o.name, "id": lambda o: o.id,
            "cluster": lambda o: getattr(getattr(o, "cluster", None), "name",
                                         self._model.clusters[0].name),
            "status": lambda o: getattr(o, "status", None) or o.tree.get("status"),
            "datacenter": lambda o: center,
            "description": lambda o: o.tree.get("description", ""),
            "fqdn": lambda o: o.entry.get("fqdn", "") if hasattr(o, "entry") else "",
        }

    def _root(self):
        kinds = sorted(self._plain) + ["tags"]
        links = [{"rel": kind, "href": API + "/" + kind} for kind in kinds]
        links += [{"rel": kind + "/search", "href": "%s/%s?search={query}" % (API, kind)}
                  for kind in ("vms", "hosts", "disks")]
        return codec.element("api", {
            "link": links,
            "product_info": {"name": "oVirt Engine", "vendor": "ovirt.org",
                             "version": self._model.version()},
            "special_objects": {
                "blank_template": ref("templates", self._model.templates[0].id),
                "root_tag": ref("tags", identity("tag", "root"))},
            "summary": {"vms": {"active": sum(vm.is_alive() for vm in self._model.vms),
                                "total": len(self._model.vms)}},
            "time": int(time.time() * 1000)})

    def disk(self, disk):
        domain = disk.storage_domain
        tree = dict(disk.tree, **ref("disks", disk.id))
        tree.update({"name": disk.name, "alias": disk.name, "provisioned_size": disk.size,
                     "storage_type": disk.storage_type})
        if domain is not None:
            tree.update({"image_id": disk.image_id, "format": disk.format, "status": disk.status,
                         "storage_domains":
                             {"storage_domain": [ref("storagedomains", domain.id)]}})
        return codec.element("disk", tree)

    def _disk_snapshots(self, domain, query):
        result = []
        for disk in (d for d in self._model.all_disks() if d.storage_domain is domain):
            for index, layer in enumerate(disk.layers):
                if index == 0 and query.get("include_active") != "true":
                    continue
                older = disk.layers[index + 1] if index + 1 < len(disk.layers) else None
                base = "storagedomains/%s/disksnapshots" % domain.id
                tree = dict(disk.tree, **ref(base, layer.id))
                tree.update({
                    "alias": disk.name, "format": layer.format, "image_id": layer.id,
                    "provisioned_size": disk.size, "status": disk.status,
                    "storage_type": disk.storage_type, "disk": ref("disks", disk.id),
                    "snapshot": {"id": layer.snapshot} if layer.snapshot else None,
                    "parent": {"id": older.id} if older else None})
                result.append(codec.element("disk_snapshot", tree))
        return result

    def _tags(self, rest):
        every = [vm_view.tag(self._model, name) for name in ["root"] + self._model.tags]
        if not rest:
            return codec.collection("tags", every)
        for one in every:
            if len(rest) == 1 and one.get("id") == rest[0]:
                return one
        raise not_found("tag", rest[0])

    def _entity(self, entity, **more):
        path = entity.kind.replace("_", "") + "s"
        return codec.element(entity.kind, dict(entity.tree, **ref(path, entity.id), **more))

    def _in_center(self):
        return ref("datacenters", self._model.data_centers[0].id)

    def _cluster(self, cluster):
        return self._entity(cluster, data_center=self._in_center())

    def _domain(self, domain):
        href = "%s/storagedomains/%s" % (API, domain.id)
        return self._entity(domain, data_centers={"data_center": [self._in_center()]}, link=[
            {"rel": name, "href": href + "/" + name} for name in ("disks", "disksnapshots")])

    def _network(self, network):
        href = "%s/networks/%s/vnicprofiles" % (API, network.id)
        return self._entity(network, data_center=self._in_center(),
                            link=[{"rel": "vnicprofiles", "href": href}])

    def _profile(self, profile):
        return self._entity(profile, network=ref("networks", profile.network.id))

    def _data_center(self, center):
        href = "%s/datacenters/%s/quotas" % (API, center.id)
        return self._entity(center, version={"major": 4, "minor": 7},
                            link=[{"rel": "quotas", "href": href}])

    def _quota(self, quota):
        base = "datacenters/%s/quotas" % self._model.data_centers[0].id
        return codec.element("quota", dict(quota.tree, **ref(base, quota.id),
                                           data_center=self._in_center()))

    def _host(self, host):
        return self._entity(host, cluster=ref("clusters", self._model.clusters[0].id))
