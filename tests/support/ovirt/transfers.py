"""Image transfers: creating them, the actions on them, and what the engine checks."""

import time

import codec
import disks
import transfer
from faults import Fault, not_found
from vm_view import ref

TRANSFER_WORDS = {
    "direction": ("download", "upload"),
    "format": ("raw", "cow"),
    "timeout_policy": ("legacy", "pause", "cancel"),
}


class Transfers:
    """All transfers of one engine. Call with model.lock held unless said otherwise."""

    def __init__(self, model, imageio, nbd):
        self._model = model
        self._imageio = imageio
        self._nbd = nbd
        self._all = []

    def visible(self):
        """Transfers the API still shows."""
        kept = self._model.settings["finished_kept_seconds"]
        now = time.monotonic()
        return [t for t in self._all
                if t.finished_at is None or (kept > 0 and now - t.finished_at < kept)]

    def every(self):
        return list(self._all)

    def is_disk_busy(self, disk):
        return disk.status != "ok"

    def create(self, request):
        """Checks a parsed <image_transfer>, locks the disk and starts the transfer."""
        layer, by_snapshot = self._target(request)
        wishes = self._wishes(request)
        disk = layer.disk
        self._check_disk(disk)
        running = [vm for vm in self._model.vms
                   if vm.status != "down" and (disk.vm is vm or disk in vm.attached)]
        active_layer = not by_snapshot or layer is disk.layers[0]
        if running and active_layer and disk.attachment["active"]:
            raise _cannot("Disk %s is plugged to a VM that is not down: %s. Please shut it down "
                          "and try again." % (disk.name, running[0].name))
        image_format = wishes.pop("format") or layer.format
        if image_format == "cow" and layer.format == "raw":
            raise _cannot("The disk %s is raw and cannot be served as cow." % disk.name)
        made = transfer.Transfer(self._model, self._imageio, self._nbd, layer, by_snapshot,
                                 image_format=image_format, **wishes)
        self._all.append(made)
        self._model.commit()
        made.start()
        return made

    def restore(self, records):
        """The transfers of an earlier engine, which start_restored() lets go on."""
        for record in records:
            disk = self._model.disk(record["disk"])
            layer = next(each for each in disk.layers if each.id == record["layer"])
            host = next(each for each in self._model.hosts if each.id == record["host"])
            made = transfer.Transfer(
                self._model, self._imageio, self._nbd, layer, record["by_snapshot"], host=host,
                **{key: record[key] for key in ("image_format", "direction", "timeout_policy",
                                                "inactivity_timeout", "shallow")})
            made.restore(record)
            self._all.append(made)

    def start_restored(self):
        for each in self._all:
            each.start_restored()

    def _target(self, request):
        chosen = request.find("disk")
        if chosen is None:
            chosen = request.find("image")
        snapshot = request.find("snapshot")
        wanted = (chosen if chosen is not None else snapshot)
        wanted_id = None if wanted is None else wanted.get("id") or wanted.findtext("id")
        if not wanted_id:
            raise Fault(400, "ImageTransfer [disk.id|snapshot.id] required for add",
                        reason="Incomplete parameters")
        for disk in self._model.all_disks():
            if chosen is not None and disk.id == wanted_id:
                return disk.layers[0], False
            for layer in disk.layers:
                if chosen is None and layer.id == wanted_id:
                    return layer, True
        raise _cannot("The specified disk image does not exist.")

    def _wishes(self, request):
        result = {}
        for name, words in TRANSFER_WORDS.items():
            value = request.findtext(name) or None
            if value is not None and value not in words:
                raise Fault(400, "%s is not a value of %s" % (value, name),
                            reason="Request syntactically incorrect.")
            result[name] = value
        # The trap of this API: a transfer that does not say so is an upload.
        result["direction"] = result["direction"] or "upload"
        result["timeout_policy"] = result["timeout_policy"] or "legacy"
        timeout = request.findtext("inactivity_timeout")
        if timeout and not timeout.strip().isdigit():
            raise Fault(400, "inactivity_timeout is not a number",
                        reason="Request syntactically incorrect.")
        result["inactivity_timeout"] = (int(timeout) if timeout
                                        else self._model.settings["inactivity_timeout"])
        result["shallow"] = (request.findtext("shallow") or "").strip().lower() in ("true", "1")
        host = request.find("host")
        hosts = self._model.hosts
        wanted = hosts[0].id if host is None else host.get("id")
        result["host"] = next((h for h in hosts if h.id == wanted), None)
        if result["host"] is None:
            raise _cannot("The host does not exist.")
        return result

    def _check_disk(self, disk):
        if disk.storage_type not in disks.IMAGE_STORAGE:
            raise _cannot("Disks of type %s are not supported." % disk.storage_type)
        if disk.status == "illegal":
            raise _cannot("The following disks are in ILLEGAL status: %s." % disk.name)
        if disk.status != "ok":
            raise _cannot("The following disks are locked: %s. Please try again in a few "
                          "minutes. Disk is locked." % disk.name)
        if disk.vm is not None and disk.vm.entry.get("has_illegal_images"):
            raise _cannot("The VM has illegal images.")
        if disk.vm is not None and disk.vm.status == "image_locked":
            raise _cannot("VM is locked.")

    def find(self, transfer_id):
        """The transfer of that id, or Fault 404."""
        for each in self.visible():
            if each.id == transfer_id:
                return each
        raise not_found("image_transfer", transfer_id)

    def act(self, transfer_id, action):
        """Carries out an action on a transfer or raises Fault."""
        each = self.find(transfer_id)
        refusal = each.act(action)
        if refusal:
            raise Fault(409, "[%s]" % refusal, action=True)
        return each

    def view(self, each):
        """The transfer as the API shows it, to the eyes of one read."""
        tree = ref("imagetransfers", each.id)
        tree.update({
            "direction": each.direction, "format": each.format, "phase": each.shown_phase(),
            "inactivity_timeout": each.inactivity_timeout, "shallow": each.shallow,
            "timeout_policy": each.timeout_policy, "host": ref("hosts", each.host.id),
            "transferred": each.transferred, "active": each.active,
            "image": {"id": each.disk.id}, "disk": ref("disks", each.disk.id),
            "snapshot": {"id": each.layer.id} if each.by_snapshot else None,
        })
        if each.phase == "transferring" and each.ticket:
            tree["transfer_url"] = each.url
            tree["proxy_url"] = each.proxy_url
        actions = [{"rel": name, "href": tree["href"] + "/" + name} for name in transfer.ACTIONS]
        tree["actions"] = {"link": actions}
        return codec.element("image_transfer", tree)

    def stop(self):
        """Ends every transfer's data plane; waits. Call without the lock."""
        for each in self.every():
            each.abandon()
        for each in self.every():
            each.join(timeout=10)


def _cannot(why):
    return Fault(409, "[Cannot transfer Virtual Disk: %s]" % why)

