"""A source that takes connections and says nothing: it holds up its own imports, and no others."""
import pytest

from bed import secret, vm_import
from scene import OVIRT_MAPPINGS, ovirt_vm

MANY = 20


def silent_imports(scene):
    scene.ferry.apply(*(vm_import(f"stuck-{number:02}", "ovirt", {"name": "stuck", "cluster": {"name": "Default"}},
                                  "silent", mappings=OVIRT_MAPPINGS, targetVmName=f"stuck-{number:02}")
                        for number in range(MANY)))


def falls_silent(engine):
    engine.control("/fault", {"path_regex": "ovirt-engine", "times": 0, "delay_seconds": 900})


@pytest.mark.parametrize("stage", ["new", "under way"])
def test_a_silent_source_does_not_stop_the_imports_of_another(scene, stage):
    images = [scene.images["dense"]]
    silent, healthy = scene.engine(ovirt_vm("stuck", images)), scene.engine(ovirt_vm("mail", images))
    scene.base(healthy)
    scene.ferry.apply(secret("silent", "ovirt", silent.secret()))
    if stage == "new":
        falls_silent(silent)
        scene.ferry.up(1)
        silent_imports(scene)
        scene.ferry.wait_for(lambda: silent.state()["faults"], 30, "the engine's silence")
    else:
        # One copies the disk, slowly; the others are blocked by its lock, and look again every five seconds.
        scene.ferry.up(1, "64K")
        silent_imports(scene)

        def all_have_begun():
            conditions = [scene.ferry.conditions(f"stuck-{number:02}") for number in range(MANY)]
            return all(conditions) and any("Processing" in each for each in conditions)
        scene.ferry.wait_for(all_have_begun, 120, "all of them to wait for their disk")
        falls_silent(silent)
    # Some of them hang by now.
    names = [f"stuck-{number:02}" for number in range(MANY)]

    def told():
        texts = [each.get("message", "") for name in names for each in scene.ferry.conditions(name).values()]
        return any("not answer" in text and silent.url in text for text in texts)
    scene.ferry.wait_for(told, 60, "a condition that names the source")
    scene.ovirt_import("mail")
    scene.ferry.run("limit", "off")
    scene.ferry.wait_succeeded("mail", 60)
    scene.ferry.check_disks("mail", images)
    assert all("Succeeded" not in scene.ferry.conditions(name) for name in names)
