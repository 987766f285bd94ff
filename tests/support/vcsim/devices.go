package main

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// bus is a kind of disk controller with the keys vSphere gives it and its disks.
type bus struct {
	controllerKey, firstKey int32
	perController           int32
	reserved                int32 // the unit taken by the controller itself, -1 when none
	label                   string
	make                    func(c types.VirtualController) types.BaseVirtualDevice
}

func scsi(c types.VirtualController) types.VirtualSCSIController {
	return types.VirtualSCSIController{VirtualController: c, ScsiCtlrUnitNumber: 7,
		SharedBus: types.VirtualSCSISharingNoSharing, HotAddRemove: types.NewBool(true)}
}

var buses = map[string]bus{
	"pvscsi": {1000, 2000, 16, 7, "SCSI controller", func(c types.VirtualController) types.BaseVirtualDevice {
		return &types.ParaVirtualSCSIController{VirtualSCSIController: scsi(c)}
	}},
	"lsilogic": {1000, 2000, 16, 7, "SCSI controller", func(c types.VirtualController) types.BaseVirtualDevice {
		return &types.VirtualLsiLogicController{VirtualSCSIController: scsi(c)}
	}},
	"sata": {15000, 16000, 30, -1, "SATA controller", func(c types.VirtualController) types.BaseVirtualDevice {
		return &types.VirtualAHCIController{VirtualSATAController: types.VirtualSATAController{VirtualController: c}}
	}},
	"nvme": {31000, 32000, 15, -1, "NVME controller", func(c types.VirtualController) types.BaseVirtualDevice {
		return &types.VirtualNVMEController{VirtualController: c}
	}},
	"ide": {200, 3000, 2, -1, "IDE", func(c types.VirtualController) types.BaseVirtualDevice {
		return &types.VirtualIDEController{VirtualController: c}
	}},
}

// deviceSet grows a VM's device list.
type deviceSet struct {
	list        []types.BaseVirtualDevice
	controllers []*placedController
}

type placedController struct {
	kind string
	base *types.VirtualController
	next int32
}

// newDeviceSet starts from the simulator's default devices. It copies those it may change: the simulator shares them
// between all VMs.
func newDeviceSet(defaults []types.BaseVirtualDevice) *deviceSet {
	s := &deviceSet{}
	for _, d := range defaults {
		switch c := d.(type) {
		case *types.VirtualIDEController:
			own := *c
			own.Device = nil
			s.controllers = append(s.controllers, &placedController{kind: "ide", base: &own.VirtualController})
			d = &own
		case *types.VirtualPCIController:
			own := *c
			d = &own
		}
		s.list = append(s.list, d)
	}
	return s
}

// place finds a free unit on a controller of the kind, adding a controller when the last one is full.
func (s *deviceSet) place(kind string) (c *types.VirtualController, unit, key int32, err error) {
	b, ok := buses[kind]
	if !ok {
		return nil, 0, 0, fmt.Errorf("controller %q", kind)
	}
	var number int32 // of controllers on this bus type so far; both SCSI kinds share their keys
	for _, placed := range s.controllers {
		same := buses[placed.kind].controllerKey == b.controllerKey
		if placed.kind == kind && placed.next < b.perController {
			unit = placed.next
			placed.next++
			if placed.next == b.reserved {
				placed.next++
			}
			key = b.firstKey + placed.base.BusNumber*b.perController + unit
			return placed.base, unit, key, nil
		}
		if same {
			number++
		}
	}
	if number == 4 || kind == "ide" {
		return nil, 0, 0, fmt.Errorf("no room for another %s disk", kind)
	}
	device := b.make(types.VirtualController{
		VirtualDevice: types.VirtualDevice{Key: b.controllerKey + number, ControllerKey: 100, UnitNumber: types.NewInt32(3 + number),
			DeviceInfo: description(fmt.Sprintf("%s %d", b.label, number), b.label)},
		BusNumber: number,
	})
	base := device.(types.BaseVirtualController).GetVirtualController()
	s.list = append(s.list, device)
	s.controllers = append(s.controllers, &placedController{kind: kind, base: base})
	return s.place(kind)
}

// addDisk puts a disk on its controller; `file` is "[datastore] dir/name.vmdk". Whatever it is to be, it is flat at first:
// the simulator looks into files of no other kind.
func (s *deviceSet) addDisk(disk bedDisk, file, uuid string, datastore types.ManagedObjectReference) (*types.VirtualDisk, error) {
	controller, unit, key, err := s.place(disk.Controller)
	if err != nil {
		return nil, err
	}
	controller.Device = append(controller.Device, key)
	device := &types.VirtualDisk{
		VirtualDevice: types.VirtualDevice{
			Key: key, ControllerKey: controller.Key, UnitNumber: types.NewInt32(unit),
			DeviceInfo: description(disk.Label, fmt.Sprintf("%d KB", disk.Size/1024)),
			Backing:    diskBacking(bedDisk{Mode: disk.Mode, Thin: disk.Thin, Sharing: disk.Sharing}, file, uuid, datastore),
		},
		CapacityInKB: disk.Size / 1024, CapacityInBytes: disk.Size,
	}
	s.list = append(s.list, device)
	return device, nil
}

// diskBacking is what holds the disk's content; `file` is that of the base.
func diskBacking(disk bedDisk, file, uuid string, datastore types.ManagedObjectReference) types.BaseVirtualDeviceBackingInfo {
	in := func(name string) types.VirtualDeviceFileBackingInfo {
		return types.VirtualDeviceFileBackingInfo{FileName: name, Datastore: &datastore}
	}
	flat := &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: in(file),
		DiskMode:                     disk.Mode, ThinProvisioned: types.NewBool(disk.Thin), WriteThrough: types.NewBool(false),
		Split: types.NewBool(false), EagerlyScrub: types.NewBool(false), Uuid: uuid,
		Sharing: disk.Sharing, DigestEnabled: types.NewBool(false), ContentId: contentID(uuid),
	}
	if disk.KeyID != "" {
		flat.KeyId = &types.CryptoKeyId{KeyId: disk.KeyID}
	}
	delta := strings.TrimSuffix(file, ".vmdk") + deltaSuffix + ".vmdk"
	switch disk.Backing {
	case "delta":
		top := *flat
		top.FileName, top.Parent = delta, flat
		top.ContentId = contentID(delta + uuid) // a guest has written since the snapshot
		return &top
	case "sesparse":
		return &types.VirtualDiskSeSparseBackingInfo{VirtualDeviceFileBackingInfo: in(delta), DiskMode: disk.Mode, Uuid: uuid}
	case "rdm-physical", "rdm-virtual":
		return &types.VirtualDiskRawDiskMappingVer1BackingInfo{VirtualDeviceFileBackingInfo: in(file), DiskMode: disk.Mode,
			CompatibilityMode: strings.TrimPrefix(disk.Backing, "rdm-") + "Mode", Uuid: uuid, LunUuid: "0200000000" + uuid[:8]}
	}
	return flat
}

// contentID looks like the long content id of a descriptor. A host gives a new one with the first write after a disk was
// opened, so that a fresh snapshot's delta has that of its base.
func contentID(of string) string {
	sum := md5.Sum([]byte(of))
	return hex.EncodeToString(sum[:])
}

// diskUUID looks like those of vSphere: 6000C29 and noise.
func diskUUID(vm string, index int) string {
	h := fmt.Sprintf("%x", sha1.Sum([]byte(fmt.Sprintf("%s/disk%d", vm, index))))
	return fmt.Sprintf("6000C29%s-%s-%s-%s-%s", h[0:1], h[1:5], h[5:9], h[9:13], h[13:25])
}

// addNIC adds a card and answers with the network it hangs on.
func (s *deviceSet) addNIC(index int, nic bedNIC, home *site) (types.ManagedObjectReference, error) {
	network, backing, err := home.network(nic.Network)
	if err != nil {
		return network, err
	}
	connected := nic.Connected == nil || *nic.Connected
	card := types.VirtualEthernetCard{
		VirtualDevice: types.VirtualDevice{
			Key: 4000 + int32(index), ControllerKey: 100, UnitNumber: types.NewInt32(7 + int32(index)),
			DeviceInfo: description(fmt.Sprintf("Network adapter %d", index+1), nic.Network),
			Backing:    backing,
			Connectable: &types.VirtualDeviceConnectInfo{
				StartConnected: connected, AllowGuestControl: true, Connected: connected, Status: "ok",
			},
		},
		AddressType: string(types.VirtualEthernetCardMacTypeManual), MacAddress: nic.MAC, WakeOnLanEnabled: types.NewBool(true),
	}
	switch nic.Type {
	case "vmxnet3":
		s.list = append(s.list, &types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: card}})
	case "e1000":
		s.list = append(s.list, &types.VirtualE1000{VirtualEthernetCard: card})
	case "e1000e":
		s.list = append(s.list, &types.VirtualE1000e{VirtualEthernetCard: card})
	case "vmxnet2":
		s.list = append(s.list, &types.VirtualVmxnet2{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: card}})
	case "pcnet32":
		s.list = append(s.list, &types.VirtualPCNet32{VirtualEthernetCard: card})
	case "sriov":
		s.list = append(s.list, &types.VirtualSriovEthernetCard{VirtualEthernetCard: card})
	default:
		return network, fmt.Errorf("nic type %q", nic.Type)
	}
	return network, nil
}

func description(label, summary string) *types.Description {
	return &types.Description{Label: label, Summary: summary}
}
