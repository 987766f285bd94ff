package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// inventory is the simulated vCenter and what we know of it beside the simulator.
type inventory struct {
	model   *simulator.Model
	client  *vim25.Client // in process, always logged in
	sites   []*site
	at      map[types.ManagedObjectReference]*site // by VM
	ready   []readyVM
	power   *power
	content map[types.ManagedObjectReference]map[int32]string // by VM and disk: the file with what a guest sees
}

// newInventory makes each data centre with a cluster and one datastore below `root`, and exactly the VMs of the file.
func newInventory(bed *bedFile, root string) (*inventory, error) {
	// The simulator keeps its datastores in the temporary directory.
	if err := os.Setenv("TMPDIR", root); err != nil {
		return nil, err
	}
	v := &inventory{model: simulator.VPX(), ready: []readyVM{}, at: map[types.ManagedObjectReference]*site{},
		content: map[types.ManagedObjectReference]map[int32]string{}}
	v.model.Machine, v.model.Datastore, v.model.Host, v.model.ClusterHost = 0, 1, 0, 2
	v.model.Datacenter = 1 + len(bed.Others)
	if bed.Host {
		v.model = simulator.ESX()
		v.model.Machine, v.model.Datastore = 0, 1
	}
	if err := v.model.Create(); err != nil {
		return nil, err
	}
	var err error
	if v.client, err = vim25.NewClient(context.Background(), v.model.Service); err != nil {
		return nil, err
	}
	v.power = newPower(v.client)
	simulator.Map.AddHandler(v.power)
	// A bed that is started again is the same server.
	about := &simulator.Map.Get(serviceInstance).(*simulator.ServiceInstance).Content.About
	about.InstanceUuid = madeUUID("40", bed.Datacenter+"/"+bed.Datastore)

	if err = v.findSites(bed); err != nil {
		return nil, err
	}
	if err = v.sites[0].addOpaque(bed.Opaque); err != nil {
		return nil, err
	}
	setClocks(bed.UTCOffset)
	for _, vm := range bed.VMs {
		if err = v.addVM(vm); err != nil {
			return nil, fmt.Errorf("vm %q: %w", vm.Name, err)
		}
	}
	return v, nil
}

// folder finds or makes the path of folders below `at`.
func (v *inventory) folder(at types.ManagedObjectReference, path string) (types.ManagedObjectReference, error) {
	for _, name := range strings.FieldsFunc(path, func(c rune) bool { return c == '/' }) {
		name = escapeName(name)
		parent := simulator.Map.Get(at).(*simulator.Folder)
		if found := simulator.Map.FindByName(name, parent.ChildEntity); found != nil {
			at = found.Reference()
			continue
		}
		made, err := object.NewFolder(v.client, at).CreateFolder(context.Background(), name)
		if err != nil {
			return at, err
		}
		at = made.Reference()
	}
	return at, nil
}

func (v *inventory) addVM(want bedVM) error {
	ctx := context.Background()
	home := v.site(want.Datacenter)
	folder, err := v.folder(home.dc.VmFolder, want.Folder)
	if err != nil {
		return err
	}
	pool, host := home.compute()
	if pool, err = v.pool(pool, want.Pool, want.App); err != nil {
		return err
	}

	name := escapeName(want.Name)
	dir, err := home.freeDir(name)
	if err != nil {
		return err
	}
	spec := types.VirtualMachineConfigSpec{
		Name: name, GuestId: string(types.VirtualMachineGuestOsIdentifierOtherGuest), Annotation: want.Annotation,
		Uuid: want.UUID, InstanceUuid: want.InstanceUUID, NumCPUs: want.CPUs, NumCoresPerSocket: want.CoresPerSocket,
		MemoryMB: int64(want.MemoryMB), Firmware: want.Firmware,
		BootOptions: &types.VirtualMachineBootOptions{EfiSecureBootEnabled: types.NewBool(want.SecureBoot)},
		Files:       &types.VirtualMachineFileInfo{VmPathName: fmt.Sprintf("[%s] %s/%s.vmx", home.datastoreName, dir, dir)},
	}
	task, err := object.NewFolder(v.client, folder).CreateVM(ctx, spec,
		object.NewResourcePool(v.client, pool), object.NewHostSystem(v.client, host))
	if err != nil {
		return err
	}
	info, err := task.WaitForResult(ctx, nil)
	if err != nil {
		return err
	}
	vm := simulator.Map.Get(info.Result.(types.ManagedObjectReference)).(*simulator.VirtualMachine)
	v.at[vm.Self] = home
	disks, devices, err := v.equip(vm, want, dir)
	if err != nil {
		return err
	}
	if _, err = methods.RefreshStorageInfo(ctx, v.client, &types.RefreshStorageInfo{This: vm.Self}); err != nil {
		return err
	}
	for i, disk := range want.Disks {
		device := devices[i]
		file := device.Backing.(*types.VirtualDiskFlatVer2BackingInfo).FileName
		device.Backing = diskBacking(disk, file, diskUUID(want.UUID, i), home.datastore)
	}
	v.power.know(vm.Self, want)
	if err = v.power.set(vm.Self, want.Power); err != nil {
		return err
	}
	for path, value := range want.Extra {
		if err = setProperty(vm, path, value); err != nil {
			return err
		}
	}
	place := []string{home.path, "vm"}
	if want.Folder != "" {
		place = append(place, strings.Trim(want.Folder, "/"))
	}
	if want.App != "" {
		place = v.putIntoApp(vm, folder, pool)
	}
	v.ready = append(v.ready, readyVM{Name: want.Name, UUID: want.UUID, InstanceUUID: want.InstanceUUID, Moref: vm.Self.Value,
		Path: strings.Join(append(place, name), "/"), Disks: disks})
	return nil
}

// equip replaces the simulator's sparse configuration by what the file asks for, and writes the disks.
func (v *inventory) equip(vm *simulator.VirtualMachine, want bedVM, dir string) ([]readyDisk, []*types.VirtualDisk, error) {
	home, placed := v.at[vm.Self], []*types.VirtualDisk{}
	devices := newDeviceSet(vm.Config.Hardware.Device)
	ready := []readyDisk{}
	v.content[vm.Self] = map[int32]string{}
	for i, disk := range want.Disks {
		base := dir
		if i > 0 {
			base = fmt.Sprintf("%s_%d", dir, i)
		}
		uuid := diskUUID(want.UUID, i)
		flat, err := writeDisk(filepath.Join(home.datastoreDir, dir), base, disk, uuid)
		if err != nil {
			return nil, nil, fmt.Errorf("disk %d: %w", i, err)
		}
		file := fmt.Sprintf("[%s] %s/%s.vmdk", home.datastoreName, dir, base)
		device, err := devices.addDisk(disk, file, uuid, home.datastore)
		if err != nil {
			return nil, nil, fmt.Errorf("disk %d: %w", i, err)
		}
		placed = append(placed, device)
		v.content[vm.Self][device.Key] = flat
		if disk.isDelta() {
			file = fmt.Sprintf("[%s] %s/%s%s.vmdk", home.datastoreName, dir, base, deltaSuffix)
		}
		number := vm.Self.Value[strings.LastIndex(vm.Self.Value, "-")+1:]
		device.DiskObjectId = fmt.Sprintf("%s-%d", number, device.Key)
		ready = append(ready, readyDisk{Label: disk.Label, Key: device.Key, File: file, Path: flat})
	}
	vm.Network = nil
	for i, nic := range want.NICs {
		network, err := devices.addNIC(i, nic, home)
		if err != nil {
			return nil, nil, err
		}
		simulator.Map.AddReference(vm, &vm.Network, network)
	}
	order, err := bootOrder(want, placed)
	if err != nil {
		return nil, nil, err
	}
	vm.Config.BootOptions = &types.VirtualMachineBootOptions{EfiSecureBootEnabled: types.NewBool(want.SecureBoot), BootOrder: order}
	vm.Config.Hardware.Device = devices.list
	vm.Config.GuestId, vm.Config.GuestFullName = want.GuestID, want.GuestFullName
	vm.Config.ChangeTrackingEnabled = types.NewBool(false)
	vm.Config.ChangeVersion = "1"
	vm.Summary.Config.GuestId, vm.Summary.Config.GuestFullName = want.GuestID, want.GuestFullName
	vm.Summary.Config.Annotation = want.Annotation
	vm.Summary.Config.NumVirtualDisks, vm.Summary.Config.NumEthernetCards = int32(len(want.Disks)), int32(len(want.NICs))
	return ready, placed, nil
}

// vm finds a VM by managed object id, uuid, or a name that only one VM has.
func (v *inventory) vm(which string) (types.ManagedObjectReference, error) {
	var found []string
	for _, vm := range v.ready {
		if which == vm.Moref || which == vm.UUID || which == vm.InstanceUUID || which == vm.Path {
			found = []string{vm.Moref}
			break
		}
		if which == vm.Name {
			found = append(found, vm.Moref)
		}
	}
	if len(found) != 1 {
		return types.ManagedObjectReference{}, fmt.Errorf("%d VMs are named %q", len(found), which)
	}
	return types.ManagedObjectReference{Type: "VirtualMachine", Value: found[0]}, nil
}

// setProperty sets "config.hardware.numCPU"-like paths of strings, booleans and numbers, absent parents included.
func setProperty(vm *simulator.VirtualMachine, path, text string) error {
	at := reflect.ValueOf(&vm.VirtualMachine).Elem()
	for _, name := range strings.Split(path, ".") {
		for at.Kind() == reflect.Ptr {
			if at.IsNil() {
				at.Set(reflect.New(at.Type().Elem()))
			}
			at = at.Elem()
		}
		if at.Kind() != reflect.Struct || name == "" {
			return fmt.Errorf("extra %q: no such property", path)
		}
		if at = at.FieldByName(strings.ToUpper(name[:1]) + name[1:]); !at.IsValid() {
			return fmt.Errorf("extra %q: no such property", path)
		}
	}
	if at.Kind() == reflect.Ptr {
		at.Set(reflect.New(at.Type().Elem()))
		at = at.Elem()
	}
	switch at.Kind() {
	case reflect.String:
		at.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("extra %q: %w", path, err)
		}
		at.SetBool(b)
	case reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, at.Type().Bits())
		if err != nil {
			return fmt.Errorf("extra %q: %w", path, err)
		}
		at.SetInt(n)
	default:
		if at.Type() == reflect.TypeOf(types.ManagedObjectReference{}) {
			if kind := strings.SplitN(text, ":", 2); len(kind) == 2 {
				at.Set(reflect.ValueOf(types.ManagedObjectReference{Type: kind[0], Value: kind[1]}))
				return nil
			}
		}
		return fmt.Errorf("extra %q: a %s cannot be set", path, at.Type())
	}
	return nil
}
