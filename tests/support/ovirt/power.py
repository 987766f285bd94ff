"""Starting and stopping machines: what is allowed when, and states over time."""

import threading
import time

from faults import Fault

_RUNNING = ("up", "powering_up", "wait_for_launch", "paused", "reboot_in_progress",
            "not_responding", "unknown", "migrating")


class Power:
    """Carries out power actions. Call with model.lock held."""

    def __init__(self, model, is_disk_busy):
        self._model = model
        self._is_disk_busy = is_disk_busy

    def act(self, vm, action):
        """Accepts `shutdown`, `stop` or `start`, or raises Fault 409."""
        getattr(self, "_" + action)(vm)

    def _shutdown(self, vm):
        self._refuse_unless_running(vm, "shutdown")
        if vm.status == "powering_down":
            return
        vm.status = "powering_down"
        self._model.commit()
        if vm.shutdown_seconds is not None:
            self._later(vm, vm.shutdown_seconds, "powering_down", "down")
        elif vm.ignores_shutdown:
            self._later(vm, 0.5, "powering_down", "up")

    def _stop(self, vm):
        self._refuse_unless_running(vm, "stop")
        self.set_status(vm, "down")

    def _start(self, vm):
        if vm.status == "image_locked":
            raise _conflict("Cannot run VM. VM is locked.")
        if vm.status in _RUNNING or vm.status == "powering_down":
            raise _conflict("Cannot run VM. VM is running.")
        locked = [disk.name for disk in vm.disks + vm.attached if self._is_disk_busy(disk)]
        if locked:
            raise _conflict("Cannot run VM: The following disks are locked: %s. "
                            "Please try again in a few minutes." % ", ".join(locked))
        vm.status = "wait_for_launch"
        vm.start_time, vm.stop_time = int(time.time() * 1000), None
        self._model.commit()
        self._later(vm, vm.start_seconds / 2, "wait_for_launch", "powering_up")
        self._later(vm, vm.start_seconds, "powering_up", "up")

    def _refuse_unless_running(self, vm, action):
        if vm.status == "image_locked":
            raise _conflict("Cannot %s VM. VM is locked." % action)
        if vm.status not in _RUNNING and vm.status != "powering_down":
            raise _conflict("Cannot %s VM. VM is not running." % action)

    def set_status(self, vm, status):
        """Moves a machine to a status now, with the times that go with it."""
        was_alive = vm.is_alive()
        vm.status = status
        if was_alive and not vm.is_alive():
            vm.stop_time = int(time.time() * 1000)
        elif vm.is_alive() and not was_alive:
            vm.start_time, vm.stop_time = int(time.time() * 1000), None
        self._model.commit()

    def _later(self, vm, seconds, expected, status):
        def change():
            with self._model.lock:
                if vm.status == expected:
                    self.set_status(vm, status)
        timer = threading.Timer(seconds, change)
        timer.daemon = True
        timer.start()


def _conflict(detail):
    return Fault(409, "[%s]" % detail, action=True)
