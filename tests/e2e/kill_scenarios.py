"""What is under way when a coordinator dies (kill_sweep.py): imports of several ways, and their undoing."""
from cluster_world import CRDS, small_image
from ferry_cluster import secret, vm_import
from ovirt_world import closings, is_open
from scene import FAST_ENGINE, OVIRT_MAPPINGS, VMWARE_MAPPINGS, ovirt_vm, vmware_vm


class Import:
    """A VMware import of two disks."""

    name, crds, options, agents, disks = "an import", CRDS, (), True, 2
    stride = 15  # of the sample
    least = 100  # points of a full sweep, which else tests less than it says
    spec = {}

    def __init__(self, directory):
        self.images = [small_image(directory / "one.raw", 3, 1), small_image(directory / "two.raw", 2, 2)]

    def set_up(self, world, points):
        """The sources of a batch."""
        self.world, self.points, self.tried = world, points, []
        self.source = world.vcenter(*[vmware_vm(point.machine, self.images, power="on") for point in points])

    def apply(self, ferry, point):
        ferry.apply(secret("source", "vmware", self.source.secret()), ns=point.ns)
        ferry.apply(vm_import(point.machine, "vmware", {"name": point.machine}, "source", mappings=VMWARE_MAPPINGS,
                              **self.spec), ns=point.ns)

    def begin(self, ferry, point, death):
        """From nothing to an import and a coordinator that will die."""
        self.tried.append(point)
        ferry.coordinator("coordinator", *ferry.options, **death)
        self.apply(ferry, point)

    def go_on(self, ferry, point):
        pass

    def has_ended(self, ferry, point):
        return ferry.conditions(point.machine, point.ns).get("Succeeded")

    def check(self, ferry, point):
        condition = ferry.conditions(point.machine, point.ns)["Succeeded"]
        assert condition["status"] == "True", condition
        ferry.check_end(point.machine, self.images, point.ns)

    def power(self, state, machine):
        return {"poweredOn": "on", "poweredOff": "off"}[state["vms"][self.source.vm(machine)["moref"]]["power"]]

    def check_sources(self):
        """Machines are as they must be, and no disk was read more than once."""
        state = self.source.state()
        for point in self.tried:
            assert self.power(state, point.machine) == self.power_at_the_end, point.machine
        sizes = sum(image.stat().st_size for image in self.images)
        for point in self.tried:
            read = sum(use["bytes"] for path, use in state["folder"]["files"].items()
                       if path.startswith(point.machine + "/") and path.endswith("-flat.vmdk"))
            # And what identifies the disks' content, by whoever looks at it.
            assert read <= sizes * self.readings, f"{read} bytes of {sizes} were read from {point.machine}"

    power_at_the_end, readings = "off", 1.9


class Adoption(Import):
    """With CDI, and the VM started: DataVolumes adopt the claims."""

    name, crds, spec, least = "adoption by CDI and a start", (*CRDS, "cdi.yaml"), {"startVm": True}, 120

    def set_up(self, world, points):
        super().set_up(world, points)
        self.cdi, self.kubevirt = world.cdi(), world.kubevirt()

    def check(self, ferry, point):
        super().check(ferry, point)
        found = ferry.get("VirtualMachineImport", point.machine, point.ns)
        assert ferry.conditions(point.machine, point.ns)["Succeeded"]["reason"] == "VirtualMachineRunning"
        vm = ferry.get("VirtualMachine", point.machine, point.ns)
        volumes = ferry.list("DataVolume", point.ns)
        assert sorted(each["metadata"]["name"] for each in volumes) == sorted(d["claim"] for d in found["status"]["disks"])
        for each in volumes:
            assert each["status"]["phase"] == "Succeeded", each
            assert [o["uid"] for o in each["metadata"]["ownerReferences"]] == [vm["metadata"]["uid"]], each["metadata"]
            claim = ferry.get("PersistentVolumeClaim", each["metadata"]["name"], point.ns)
            assert [o["uid"] for o in claim["metadata"]["ownerReferences"]] == [each["metadata"]["uid"]], claim["metadata"]
        assert self.kubevirt.started.get(f"{point.ns}/{point.machine}") == 1, self.kubevirt.started

    def check_sources(self):
        super().check_sources()
        assert self.cdi.faults == [] and self.kubevirt.faults == [], (self.cdi.faults, self.kubevirt.faults)


class Movers(Import):
    """Nobody copies but the holders."""

    name, options, agents = "an import by movers", ("--mode", "movers"), False


class Undoing(Import):
    """The coordinator that copied is dead; the one that undoes dies at its writes."""

    power_at_the_end, readings, stride, least = "on", 2.9, 5, 15

    def begin(self, ferry, point, death):
        self.tried.append(point)
        first = ferry.coordinator("coordinator", *ferry.options)
        self.apply(ferry, point)
        ferry.agent(limit="400K")  # a disk is copied for seconds
        ferry.wait_for(lambda: ferry.moved(point.machine, point.ns), 120, "the copy")
        first.kill()
        first.environment.update(death)

    def go_on(self, ferry, point):
        self.cause(ferry, point)
        ferry.coordinators["coordinator"].start()

    def nothing_left(self, ferry, point):
        """Of claims, pods, VMs, records."""
        def left():
            return [f"{each['metadata']['name']} ({kind})" for kind, ns in (
                ("PersistentVolumeClaim", point.ns), ("Pod", point.ns), ("VirtualMachine", point.ns), ("ConfigMap", point.ns),
                ("ConfigMap", ferry.ns)) for each in ferry.list(kind, ns) if each["metadata"]["name"] not in (
                    "kube-root-ca.crt", "vm-import-controller-config", "vmferry-coordinator")]
        try:
            ferry.wait_for(lambda: not left(), 40, "a tidy end")
        except AssertionError:
            raise AssertionError(f"left over: {left()}") from None

    def check(self, ferry, point):
        self.nothing_left(ferry, point)


class Deletion(Undoing):
    name = "a deletion in the middle of a copy"

    def cause(self, ferry, point):
        ferry.delete("VirtualMachineImport", point.machine, point.ns)

    def has_ended(self, ferry, point):
        status, _ = ferry.bed.request("GET", f"/apis/v2v.kubevirt.io/v1beta1/namespaces/{point.ns}/virtualmachineimports/"
                                      f"{point.machine}")
        return status == 404


class Failure(Undoing):
    """A claim is taken away: what was copied to it is lost, and the import fails."""

    name = "a failure in the middle of a copy"

    def cause(self, ferry, point):
        disks = ferry.get("VirtualMachineImport", point.machine, point.ns)["status"]["disks"]
        ferry.delete("PersistentVolumeClaim", disks[0]["claim"], point.ns)

    def check(self, ferry, point):
        condition = ferry.conditions(point.machine, point.ns)["Succeeded"]
        assert condition["status"] == "False" and condition["reason"] == "DataVolumeCreationFailed", condition
        self.nothing_left(ferry, point)
        ferry.wait_for(lambda: not ferry.get("VirtualMachineImport", point.machine, point.ns)["metadata"].get("finalizers"),
                       30, "the end of its finalizers")


class FromOvirt:
    """The source of either way, an engine."""

    def set_up(self, world, points):
        self.world, self.points, self.tried = world, points, []
        self.source = world.engine({"engine": FAST_ENGINE, "vms": [
            ovirt_vm(point.machine, self.images, status="up", nics=[]) for point in points]})

    def apply(self, ferry, point):
        ferry.apply(secret("source", "ovirt", self.source.secret()), ns=point.ns)
        source = {"name": point.machine, "cluster": {"name": "Default"}}
        ferry.apply(vm_import(point.machine, "ovirt", source, "source", mappings=OVIRT_MAPPINGS), ns=point.ns)

    def check_sources(self):
        """Each transfer was ended once, and a disk was not opened again without need."""
        def closed():
            return not any(is_open(each) for each in self.source.state()["transfers"])
        self.world.bed.wait_for(closed, "the end of the transfers")
        state = self.source.state()
        assert all(disk["status"] == "ok" for disk in state["disks"].values()), state["disks"]
        for transfer in state["transfers"]:
            assert len(closings(transfer)) == 1, transfer
        for point in self.tried:
            vm = self.source.vm(point.machine)
            up = state["vms"][vm["id"]]["status"] in ("up", "powering_up", "wait_for_launch")
            assert up == (self.power_at_the_end == "on"), (point.machine, state["vms"][vm["id"]])
            disks = {disk["id"] for disk in vm["disks"]}
            opened = [each["disk"] for each in state["transfers"] if each["disk"] in disks]
            # One that was asked for and of which nobody knew is ended and asked for again.
            assert all(opened.count(disk) <= 2 for disk in disks), opened


class OvirtImport(FromOvirt, Import):
    name = "an import from oVirt"


class OvirtDeletion(FromOvirt, Deletion):
    name = "a deletion of an import from oVirt"
