package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

const sector = 512

// bedFile is the inventory a test asks for. Unknown keys are an error: a typo must not pass as a default.
type bedFile struct {
	Datacenter string       `json:"datacenter"` // "DC0", or "folder/name": then it lies in that folder
	Datastore  string       `json:"datastore"`  // name of its only datastore, LocalDS_0 when empty
	Others     []bedSite    `json:"others"`     // more data centres
	Host       bool         `json:"host"`       // a lone ESXi host: its data centre is ha-datacenter
	UTCOffset  int32        `json:"utc_offset_seconds"`
	Opaque     []bedNetwork `json:"opaque"` // opaque networks of the first data centre
	VMs        []bedVM      `json:"vms"`
}

type bedSite struct {
	Datacenter string `json:"datacenter"`
	Datastore  string `json:"datastore"`
}

type bedNetwork struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

type bedVM struct {
	Name           string  `json:"name"`
	UUID           string  `json:"uuid"`
	InstanceUUID   string  `json:"instance_uuid"`
	Datacenter     string  `json:"datacenter"` // one of the bed's; the first when empty
	Folder         string  `json:"folder"`     // below the data centre's vm folder, made when missing
	Pool           string  `json:"pool"`       // resource pools below the cluster's own, made when missing
	App            string  `json:"app"`        // a vApp in that pool: then the VM is in no folder
	GuestID        string  `json:"guest_id"`
	GuestFullName  string  `json:"guest_full_name"`
	Annotation     string  `json:"annotation"`
	CPUs           int32   `json:"cpus"`
	CoresPerSocket int32   `json:"cores_per_socket"`
	MemoryMB       int32   `json:"memory_mb"`
	Firmware       string  `json:"firmware"`
	SecureBoot     bool    `json:"secure_boot"`
	Power          string  `json:"power"` // on, off, suspended
	Tools          string  `json:"tools"` // a VirtualMachineToolsStatus, as it is while the VM runs
	HostName       string  `json:"host_name"`
	Shutdown       float64 `json:"shutdown_seconds"` // from ShutdownGuest to poweredOff; negative: never
	Disks          []bedDisk
	NICs           []bedNIC          `json:"nics"`
	BootOrder      []string          `json:"boot_order"` // "disk:0", "nic:1", "cdrom"
	Extra          map[string]string `json:"extra"`      // property path -> value, converted to the property's type
}

type bedDisk struct {
	Label      string `json:"label"`
	Size       int64  `json:"size_bytes"`
	Image      string `json:"image"`
	Controller string `json:"controller"` // pvscsi, lsilogic, sata, nvme, ide
	Thin       bool   `json:"thin"`
	Mode       string `json:"mode"`
	Backing    string `json:"backing"` // flat, split, delta (of a snapshot), sesparse (likewise), rdm-physical, rdm-virtual
	Current    string `json:"current"` // of a delta: the image as the guest sees it; Image is then the base
	Sharing    string `json:"sharing"` // sharingNone, sharingMultiWriter
	KeyID      string `json:"key_id"`  // encrypted with this key
}

type bedNIC struct {
	Type      string `json:"type"`
	Network   string `json:"network"`
	MAC       string `json:"mac"`
	Connected *bool  `json:"connected"`
}

func (d *bedDisk) isDelta() bool { return d.Backing == "delta" || d.Backing == "sesparse" }

func readBed(path string) (*bedFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--inventory: %w", err)
	}
	bed := &bedFile{Datacenter: "DC0", Datastore: "LocalDS_0"}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(bed); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if bed.Host {
		if len(bed.Others) > 0 {
			return nil, fmt.Errorf("%s: a lone host has one data centre", path)
		}
		bed.Datacenter = "ha-datacenter"
	}
	sites := map[string]bool{bed.Datacenter: true}
	for i := range bed.Others {
		other := &bed.Others[i]
		if other.Datastore == "" {
			other.Datastore = "LocalDS_0"
		}
		if other.Datacenter == "" || sites[other.Datacenter] {
			return nil, fmt.Errorf("%s: others: a data centre needs a name of its own", path)
		}
		sites[other.Datacenter] = true
	}
	seen := map[string]bool{}
	for i := range bed.VMs {
		vm := &bed.VMs[i]
		if vm.Datacenter == "" {
			vm.Datacenter = bed.Datacenter
		}
		if !sites[vm.Datacenter] {
			return nil, fmt.Errorf("%s: vm %q: no data centre %q", path, vm.Name, vm.Datacenter)
		}
		if vm.App != "" && vm.Folder != "" {
			return nil, fmt.Errorf("%s: vm %q: in a vApp it has no folder", path, vm.Name)
		}
		place := vm.Folder + "/" + vm.Name
		if vm.Datacenter != bed.Datacenter {
			place = vm.Datacenter + "/" + place
		}
		if seen[place] {
			return nil, fmt.Errorf("%s: two VMs named %q in one folder", path, vm.Name)
		}
		seen[place] = true
		if err := vm.complete(place); err != nil {
			return nil, fmt.Errorf("%s: vm %q: %w", path, vm.Name, err)
		}
	}
	return bed, nil
}

// complete fills defaults and refuses what a real vCenter could not hold.
func (vm *bedVM) complete(place string) error {
	if vm.Name == "" {
		return fmt.Errorf("no name")
	}
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&vm.UUID, madeUUID("42", place))
	fill(&vm.InstanceUUID, madeUUID("50", place))
	fill(&vm.GuestID, "otherGuest64")
	fill(&vm.GuestFullName, vm.GuestID)
	fill(&vm.Firmware, "bios")
	fill(&vm.Power, "off")
	fill(&vm.Tools, "toolsNotInstalled")
	vm.UUID, vm.InstanceUUID = strings.ToLower(vm.UUID), strings.ToLower(vm.InstanceUUID)
	if vm.CPUs == 0 {
		vm.CPUs = 1
	}
	if vm.CoresPerSocket == 0 {
		vm.CoresPerSocket = 1
	}
	if vm.MemoryMB == 0 {
		vm.MemoryMB = 1024
	}
	if vm.Firmware != "bios" && vm.Firmware != "efi" {
		return fmt.Errorf("firmware %q", vm.Firmware)
	}
	if vm.SecureBoot && vm.Firmware != "efi" {
		return fmt.Errorf("secure boot needs efi")
	}
	for i := range vm.Disks {
		d := &vm.Disks[i]
		fill(&d.Controller, "pvscsi")
		fill(&d.Mode, "persistent")
		fill(&d.Backing, "flat")
		fill(&d.Sharing, string(types.VirtualDiskSharingSharingNone))
		fill(&d.Label, fmt.Sprintf("Hard disk %d", i+1))
		if d.Size <= 0 || d.Size%sector != 0 {
			return fmt.Errorf("disk %d: size_bytes %d is not a positive multiple of %d", i, d.Size, sector)
		}
		if d.Current != "" && !d.isDelta() {
			return fmt.Errorf("disk %d: only a delta has a current image", i)
		}
	}
	for i := range vm.NICs {
		n := &vm.NICs[i]
		fill(&n.Type, "vmxnet3")
		fill(&n.Network, "VM Network")
		sum := sha1.Sum([]byte(fmt.Sprintf("%s/nic%d", place, i)))
		fill(&n.MAC, fmt.Sprintf("00:50:56:%02x:%02x:%02x", 0x80|sum[0]&0x3f, sum[1], sum[2]))
	}
	return nil
}

// madeUUID is stable for a VM's place, so that two runs of a bed agree.
func madeUUID(prefix, place string) string {
	sum := sha1.Sum([]byte(prefix + place))
	return fmt.Sprintf("%s%x-%x-%x-%x-%x", prefix, sum[0:3], sum[3:5], sum[5:7], sum[7:9], sum[9:15])
}

// escapeName writes an inventory name as the server stores it.
func escapeName(name string) string {
	return strings.NewReplacer("%", "%25", "/", "%2f", `\`, "%5c").Replace(name)
}
