"""What an engine still knows after it was killed: transfers, disks and machines. Sessions are not among it."""

import json
import os

_SETTLED = {"powering_down": "down", "wait_for_launch": "up", "powering_up": "up"}


class Database:
    """A file that is whole at any moment. save() belongs under the model's lock, before anybody is told."""

    def __init__(self, path):
        self._path = path
        self._sources = None

    def open(self, model, transfers):
        """Puts into both what an earlier engine left, and from then on keeps what becomes of them."""
        with model.lock:
            self._sources = (model, transfers)
            if os.path.exists(self._path):
                with open(self._path, encoding="utf-8") as file:
                    self._restore(json.load(file), model, transfers)
            model.commit = self._save

    def _restore(self, tree, model, transfers):
        transfers.restore(tree["transfers"])
        for disk in model.all_disks():
            kept = tree["disks"][disk.id]
            disk.status, disk.size = kept["status"], kept["size"]
        for vm in model.vms:
            kept = tree["vms"][vm.id]
            vm.status = _SETTLED.get(kept["status"], kept["status"])
            vm.start_time, vm.stop_time = kept["start_time"], kept["stop_time"]
        transfers.start_restored()

    def _save(self):
        model, transfers = self._sources
        tree = {"transfers": [each.record() for each in transfers.every()],
                "disks": {d.id: {"status": d.status, "size": d.size} for d in model.all_disks()},
                "vms": {v.id: {"status": v.status, "start_time": v.start_time, "stop_time": v.stop_time}
                        for v in model.vms}}
        with open(self._path + ".new", "w", encoding="utf-8") as file:
            json.dump(tree, file)
        os.replace(self._path + ".new", self._path)
