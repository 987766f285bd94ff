package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// What happens to a VM's disks behind a client's back.

// disks calls `change` with each disk whose file is a flat one, under the VM's lock.
func (v *inventory) disks(vm *simulator.VirtualMachine, change func(*types.VirtualDisk, *types.VirtualDiskFlatVer2BackingInfo) error) (err error) {
	simulator.Map.WithLock(vm.Self, func() {
		devices := append([]types.BaseVirtualDevice(nil), vm.Config.Hardware.Device...)
		for i, device := range devices {
			old, ok := device.(*types.VirtualDisk)
			if !ok {
				continue
			}
			flat, ok := old.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
			if !ok {
				continue
			}
			disk, backing := *old, *flat // answers being written may still hold the old ones
			disk.Backing = &backing
			if err = change(&disk, &backing); err != nil {
				return
			}
			devices[i] = &disk
		}
		vm.Config.Hardware.Device = devices
		vm.Config.ChangeVersion += "+"
	})
	return err
}

// grow makes the first disk larger, its files included.
func (v *inventory) grow(vm *simulator.VirtualMachine, by int64) error {
	if by < 0 || by%sector != 0 {
		return fmt.Errorf("grow_bytes %d", by)
	}
	first := true
	return v.disks(vm, func(disk *types.VirtualDisk, backing *types.VirtualDiskFlatVer2BackingInfo) error {
		if !first {
			return nil
		}
		first = false
		before := disk.CapacityInBytes
		disk.CapacityInBytes += by
		disk.CapacityInKB = disk.CapacityInBytes / 1024
		name := v.at[vm.Self].onThisMachine(backing.FileName)
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		grown := strings.Replace(string(text), fmt.Sprintf("RW %d ", before/sector), fmt.Sprintf("RW %d ", disk.CapacityInBytes/sector), 1)
		if err = os.WriteFile(name, []byte(grown), 0o600); err != nil {
			return err
		}
		return os.Truncate(v.content[vm.Self][disk.Key], disk.CapacityInBytes)
	})
}

// takeSnapshot takes one as any other user would: from now on each disk's file is a delta.
func (v *inventory) takeSnapshot(vm *simulator.VirtualMachine, written bool) error {
	ctx := context.Background()
	task, err := object.NewVirtualMachine(v.client, vm.Self).CreateSnapshot(ctx, "somebody else's", "", false, false)
	if err != nil {
		return err
	}
	if err = task.Wait(ctx); err != nil {
		return err
	}
	return v.disks(vm, func(disk *types.VirtualDisk, backing *types.VirtualDiskFlatVer2BackingInfo) error {
		descriptor := v.at[vm.Self].onThisMachine(backing.FileName)
		base := strings.TrimSuffix(filepath.Base(descriptor), ".vmdk")
		content, err := writeDelta(filepath.Dir(descriptor), base,
			bedDisk{Size: disk.CapacityInBytes, Image: v.content[vm.Self][disk.Key], Backing: "delta"}, backing.Uuid)
		if err != nil {
			return err
		}
		parent := *backing
		backing.Parent = &parent
		backing.FileName = strings.TrimSuffix(backing.FileName, ".vmdk") + deltaSuffix + ".vmdk"
		v.content[vm.Self][disk.Key] = content
		if written {
			backing.ContentId = contentID(backing.FileName + backing.Uuid)
		}
		return nil
	})
}

// moveTo puts the VM on another host, as a migration does.
func moveTo(vm *simulator.VirtualMachine, name string) error {
	for _, each := range simulator.Map.All("HostSystem") {
		if each.Entity().Name == name {
			host := each.Reference()
			simulator.Map.WithLock(vm.Self, func() { vm.Runtime.Host = &host })
			return nil
		}
	}
	return fmt.Errorf("no host %q", name)
}
