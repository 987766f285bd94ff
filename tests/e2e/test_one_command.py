"""`vmferry import -f`: start, apply, watch, summary and an exit code that scripts can use; and `vmferry wait`."""
import bed
from scene import VMWARE_MAPPINGS, vmware_vm


def write(scene, *trees):
    path = scene.directory / "all.yaml"
    path.write_text(bed.documents(*trees))
    return path


def trees(vcenter, *imports, **changes):
    return [bed.storage_class("standard", "volumes", default=True), bed.secret("source", "vmware", vcenter.secret(**changes)),
            *(bed.vm_import(name, "vmware", {"name": vm}, "source", VMWARE_MAPPINGS) for name, vm in imports)]


def test_import_f_does_all_of_it_and_ends_with_0(scene):
    images = [scene.images["odd-size"]]
    vcenter = scene.vcenter(vmware_vm("one", images), vmware_vm("two", images * 2))
    done = scene.ferry.try_run("import", "-f", write(scene, *trees(vcenter, ("one", "one"), ("two", "two"))))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 imports succeeded, 3 of 3 disks verified" in done.stdout
    scene.ferry.check_disks("one", images)
    scene.ferry.check_disks("two", images * 2)


def test_import_f_ends_with_1_when_an_import_fails_and_tells_why(scene):
    vcenter = scene.vcenter(vmware_vm("one", [scene.images["odd-size"]]))
    done = scene.ferry.try_run("import", "-f", write(scene, *trees(vcenter, ("one", "one"), password="wrong")))
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "0 of 1 imports succeeded" in said and "correct the credentials secret" in said, said


def test_import_f_ends_with_3_when_the_file_is_wrong_and_changes_nothing(scene):
    path = scene.directory / "broken.yaml"
    path.write_text("kind: [\n")
    done = scene.ferry.try_run("import", "-f", path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "broken.yaml" in done.stderr


def test_wait_tells_reached_failed_and_too_late_apart(scene):
    vcenter = scene.vcenter(vmware_vm("slow", [scene.images["dense"]]))
    scene.ferry.apply(*trees(vcenter, ("slow", "slow")))
    scene.ferry.up(1, "4M")
    assert scene.ferry.try_run("wait", "import", "slow", "--timeout", "1s").returncode == 2
    scene.ferry.run("limit", "off")
    assert scene.ferry.try_run("wait", "import", "slow", "--for", "succeeded", "--timeout", "60s").returncode == 0
    assert scene.ferry.try_run("wait", "import", "slow", "--for", "failed", "--timeout", "5s").returncode == 1
