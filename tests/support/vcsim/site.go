package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// site is one data centre with its cluster, or lone host, and its only datastore.
type site struct {
	path                        string // inventory path of the data centre
	datastoreName, datastoreDir string
	datastore                   types.ManagedObjectReference
	dc                          *simulator.Datacenter
}

// findSites gives the simulator's data centres and datastores the names of the file.
func (v *inventory) findSites(bed *bedFile) error {
	wanted := append([]bedSite{{Datacenter: bed.Datacenter, Datastore: bed.Datastore}}, bed.Others...)
	for i, want := range wanted {
		dc := simulator.Map.Any("Datacenter").(*simulator.Datacenter)
		for _, each := range simulator.Map.All("Datacenter") {
			if each.Entity().Name == fmt.Sprintf("DC%d", i) {
				dc = each.(*simulator.Datacenter)
			}
		}
		ds := simulator.Map.Get(simulator.Map.Get(dc.DatastoreFolder).(*simulator.Folder).ChildEntity[0]).(*simulator.Datastore)
		ds.Info.GetDatastoreInfo().Name = want.Datastore
		simulator.Map.Update(ds, []types.PropertyChange{
			{Name: "name", Val: want.Datastore}, {Name: "summary.name", Val: want.Datastore}, {Name: "summary.type", Val: "VMFS"},
		})
		v.sites = append(v.sites, &site{path: want.Datacenter, datastoreName: want.Datastore,
			datastoreDir: ds.Info.GetDatastoreInfo().Url, datastore: ds.Self, dc: dc})
	}
	for _, each := range v.sites {
		if err := v.nameDatacenter(each); err != nil {
			return err
		}
	}
	return nil
}

// nameDatacenter renames it and moves it into its folder.
func (v *inventory) nameDatacenter(s *site) error {
	parts := strings.Split(s.path, "/")
	name := escapeName(parts[len(parts)-1])
	simulator.Map.Update(s.dc, []types.PropertyChange{{Name: "name", Val: name}})
	if len(parts) == 1 {
		return nil
	}
	root := simulator.Map.Get(*s.dc.Parent).(*simulator.Folder)
	folder, err := v.folder(root.Self, strings.Join(parts[:len(parts)-1], "/"))
	if err != nil {
		return err
	}
	parent := simulator.Map.Get(folder).(*simulator.Folder)
	simulator.Map.RemoveReference(root, &root.ChildEntity, s.dc.Self)
	simulator.Map.AddReference(parent, &parent.ChildEntity, s.dc.Self)
	s.dc.Parent = &folder
	return nil
}

func (v *inventory) site(path string) *site {
	for _, each := range v.sites {
		if each.path == path {
			return each
		}
	}
	return v.sites[0]
}

// store is where a data centre's datastore lies, names taken as written and, as vCenter does, encoded once more; nil when
// there is none.
func (v *inventory) store(datacenter, datastore string) *site {
	for _, each := range v.sites {
		if sameName(datacenter, each.path) && sameName(datastore, each.datastoreName) {
			return each
		}
	}
	return nil
}

func (v *inventory) datastores() map[string]string {
	return map[string]string{v.sites[0].datastoreName: v.sites[0].datastoreDir}
}

// onThisMachine is where "[datastore] dir/file", or "dir/file", lies.
func (s *site) onThisMachine(file string) string {
	return filepath.Join(s.datastoreDir, filepath.FromSlash(strings.TrimPrefix(file, "["+s.datastoreName+"] ")))
}

// freeDir names the VM's directory as vCenter does: a second VM of a name gets "_1".
func (s *site) freeDir(name string) (string, error) {
	clean := strings.NewReplacer("/", "_", "%", "_", `\`, "_").Replace(name)
	dir := clean
	for n := 1; ; n++ {
		err := os.Mkdir(filepath.Join(s.datastoreDir, dir), 0o700)
		if err == nil || !os.IsExist(err) {
			return dir, err
		}
		dir = fmt.Sprintf("%s_%d", clean, n)
	}
}

// owns tells whether the entity stands below this data centre.
func (s *site) owns(entity mo.Entity) bool {
	for parent := entity.Entity().Parent; parent != nil; {
		if *parent == s.dc.Self {
			return true
		}
		above, ok := simulator.Map.Get(*parent).(mo.Entity)
		if !ok {
			return false
		}
		parent = above.Entity().Parent
	}
	return false
}

// compute answers with the root pool and a host that VMs are put on.
func (s *site) compute() (pool, host types.ManagedObjectReference) {
	for _, each := range simulator.Map.All("ClusterComputeResource") {
		if cluster, ok := each.(*simulator.ClusterComputeResource); ok && s.owns(each) {
			return *cluster.ResourcePool, cluster.Host[0]
		}
	}
	return simulator.Map.Any("ResourcePool").Reference(), simulator.Map.Any("HostSystem").Reference()
}

// pool finds or makes the path of resource pools below `at`, and a vApp in the last of them.
func (v *inventory) pool(at types.ManagedObjectReference, path, app string) (types.ManagedObjectReference, error) {
	ctx := context.Background()
	for _, name := range strings.FieldsFunc(path, func(c rune) bool { return c == '/' }) {
		if found := childPool(at, name); found != nil {
			at = *found
			continue
		}
		made, err := object.NewResourcePool(v.client, at).Create(ctx, escapeName(name), types.DefaultResourceConfigSpec())
		if err != nil {
			return at, err
		}
		at = made.Reference()
	}
	if app == "" {
		return at, nil
	}
	if found := childPool(at, app); found != nil {
		return *found, nil
	}
	made, err := object.NewResourcePool(v.client, at).CreateVApp(ctx, escapeName(app), types.DefaultResourceConfigSpec(),
		simulator.NewVAppConfigSpec(), nil)
	if err != nil {
		return at, err
	}
	return made.Reference(), nil
}

func childPool(at types.ManagedObjectReference, name string) *types.ManagedObjectReference {
	parent, ok := simulator.Map.Get(at).(*simulator.ResourcePool)
	if !ok {
		return nil
	}
	found := simulator.Map.FindByName(escapeName(name), parent.ResourcePool.ResourcePool)
	if found == nil {
		return nil
	}
	ref := found.Reference()
	return &ref
}

// putIntoApp takes the VM out of its folder: as on a real server its vApp is all that it hangs on. It answers with the path
// of the vApp.
func (v *inventory) putIntoApp(vm *simulator.VirtualMachine, folder, app types.ManagedObjectReference) []string {
	parent := simulator.Map.Get(folder).(*simulator.Folder)
	simulator.Map.RemoveReference(parent, &parent.ChildEntity, vm.Self)
	vm.Parent, vm.ParentVApp = nil, &app
	path := []string{}
	root := simulator.Map.Get(serviceInstance).(*simulator.ServiceInstance).Content.RootFolder
	for at := &app; at != nil && *at != root; {
		entity := simulator.Map.Get(*at).(mo.Entity).Entity()
		path = append([]string{entity.Name}, path...)
		at = entity.Parent
	}
	return path
}

func (s *site) addOpaque(networks []bedNetwork) error {
	folder := simulator.Map.Get(s.dc.NetworkFolder).(*simulator.Folder)
	for _, network := range networks {
		if err := folder.AddOpaqueNetwork(types.OpaqueNetworkSummary{NetworkSummary: types.NetworkSummary{Name: network.Name},
			OpaqueNetworkId: network.ID}); err != nil {
			return err
		}
	}
	return nil
}

// network finds a network of the data centre by its name, and what a card on it has for a backing.
func (s *site) network(name string) (types.ManagedObjectReference, types.BaseVirtualDeviceBackingInfo, error) {
	for _, kind := range []string{"DistributedVirtualPortgroup", "OpaqueNetwork", "Network"} {
		for _, e := range simulator.Map.All(kind) {
			found := e.Entity().Name
			if opaque, ok := e.(*mo.OpaqueNetwork); ok {
				found = opaque.Network.Name
			}
			if found != name || !s.owns(e) {
				continue
			}
			ref := e.Reference()
			switch network := e.(type) {
			case *simulator.DistributedVirtualPortgroup:
				backing := &types.VirtualEthernetCardDistributedVirtualPortBackingInfo{}
				backing.Port.PortgroupKey = network.Key
				if dvs, ok := simulator.Map.Get(*network.Config.DistributedVirtualSwitch).(*simulator.DistributedVirtualSwitch); ok {
					backing.Port.SwitchUuid = dvs.Uuid
				}
				return ref, backing, nil
			case *mo.OpaqueNetwork:
				summary := network.Summary.(*types.OpaqueNetworkSummary)
				return ref, &types.VirtualEthernetCardOpaqueNetworkBackingInfo{OpaqueNetworkId: summary.OpaqueNetworkId,
					OpaqueNetworkType: summary.OpaqueNetworkType}, nil
			}
			backing := &types.VirtualEthernetCardNetworkBackingInfo{Network: &ref}
			backing.DeviceName = name
			return ref, backing, nil
		}
	}
	return types.ManagedObjectReference{}, nil, fmt.Errorf("no network %q in %s", name, s.path)
}

// setClocks sets the time zone of every host, when there is one to set.
func setClocks(offset int32) {
	if offset == 0 {
		return
	}
	for _, each := range simulator.Map.All("HostSystem") {
		host, ok := each.(*simulator.HostSystem)
		if !ok {
			continue
		}
		config := types.HostConfigInfo{}
		if host.Config != nil {
			config = *host.Config // hosts share it
		}
		config.DateTimeInfo = &types.HostDateTimeInfo{TimeZone: types.HostDateTimeSystemTimeZone{
			Key: "bed", Name: "bed", Description: "bed", GmtOffset: offset}}
		host.Config = &config
	}
}

// bootOrder translates "disk:0", "nic:1" and "cdrom".
func bootOrder(want bedVM, disks []*types.VirtualDisk) ([]types.BaseVirtualMachineBootOptionsBootableDevice, error) {
	var order []types.BaseVirtualMachineBootOptionsBootableDevice
	for _, word := range want.BootOrder {
		kind, number, _ := strings.Cut(word, ":")
		index, err := strconv.Atoi(number)
		switch {
		case kind == "cdrom":
			order = append(order, &types.VirtualMachineBootOptionsBootableCdromDevice{})
		case err == nil && kind == "disk" && index >= 0 && index < len(disks):
			order = append(order, &types.VirtualMachineBootOptionsBootableDiskDevice{DeviceKey: disks[index].Key})
		case err == nil && kind == "nic" && index >= 0 && index < len(want.NICs):
			order = append(order, &types.VirtualMachineBootOptionsBootableEthernetDevice{DeviceKey: 4000 + int32(index)})
		default:
			return nil, fmt.Errorf("boot_order %q", word)
		}
	}
	return order, nil
}
