package main

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// power knows how the guests behave. The simulator tells it of every change of a power state (it is a RegisterObject);
// it then lets the guest tools come and go with the machine.
type power struct {
	client *vim25.Client
	mu     sync.Mutex
	guests map[types.ManagedObjectReference]*guest
}

type guest struct {
	want      bedVM
	shutdowns int
	timer     *time.Timer
}

func newPower(client *vim25.Client) *power {
	return &power{client: client, guests: map[types.ManagedObjectReference]*guest{}}
}

func (p *power) know(vm types.ManagedObjectReference, want bedVM) {
	p.mu.Lock()
	p.guests[vm] = &guest{want: want}
	p.mu.Unlock()
	entity := simulator.Map.Get(vm).(*simulator.VirtualMachine)
	p.settle(&entity.VirtualMachine)
}

// settle makes the guest's properties agree with the power state. The caller holds the VM's lock.
func (p *power) settle(vm *mo.VirtualMachine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.guests[vm.Self]
	if g == nil || vm.Guest == nil {
		return
	}
	state, status := "notRunning", types.VirtualMachineToolsStatus(g.want.Tools)
	running := types.VirtualMachineToolsRunningStatusGuestToolsNotRunning
	version := types.VirtualMachineToolsVersionStatusGuestToolsCurrent
	switch {
	case status == types.VirtualMachineToolsStatusToolsNotInstalled:
		version = types.VirtualMachineToolsVersionStatusGuestToolsNotInstalled
	case status == types.VirtualMachineToolsStatusToolsNotRunning:
	case vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn:
		running = types.VirtualMachineToolsRunningStatusGuestToolsRunning
	default:
		status = types.VirtualMachineToolsStatusToolsNotRunning
	}
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		state = "running"
	} else if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	// A new GuestInfo each time: an answer being written may still hold the old one.
	info := types.GuestInfo{
		ToolsStatus: status, ToolsRunningStatus: string(running), ToolsVersionStatus: string(version),
		ToolsVersionStatus2: string(version), GuestState: state, HostName: g.want.HostName,
		IpAddress: vm.Guest.IpAddress, GuestFamily: vm.Guest.GuestFamily,
	}
	if running == types.VirtualMachineToolsRunningStatusGuestToolsRunning {
		info.GuestId, info.GuestFullName = g.want.GuestID, g.want.GuestFullName
		info.GuestOperationsReady = types.NewBool(true)
		for i, nic := range g.want.NICs {
			info.Net = append(info.Net, types.GuestNicInfo{Network: nic.Network, MacAddress: nic.MAC,
				Connected: nic.Connected == nil || *nic.Connected, DeviceConfigId: 4000 + int32(i)})
		}
	}
	vm.Guest = &info
	vm.Summary.Guest = &types.VirtualMachineGuestSummary{ToolsStatus: status, ToolsRunningStatus: string(running),
		ToolsVersionStatus: string(version), ToolsVersionStatus2: string(version), HostName: info.HostName,
		GuestId: info.GuestId, GuestFullName: info.GuestFullName}
}

// set brings the VM to "on", "off" or "suspended" by whatever steps that takes.
func (p *power) set(ref types.ManagedObjectReference, state string) error {
	ctx := context.Background()
	vm := object.NewVirtualMachine(p.client, ref)
	type step func(context.Context) (*object.Task, error)
	run := func(s step) error {
		task, err := s(ctx)
		if err != nil {
			return err
		}
		return task.Wait(ctx)
	}
	now := powerState(ref)
	want := map[string]types.VirtualMachinePowerState{"on": types.VirtualMachinePowerStatePoweredOn,
		"off": types.VirtualMachinePowerStatePoweredOff, "suspended": types.VirtualMachinePowerStateSuspended}[state]
	switch {
	case want == "":
		return fmt.Errorf("power %q: on, off or suspended", state)
	case want == now:
		return nil
	case want == types.VirtualMachinePowerStatePoweredOn:
		return run(vm.PowerOn)
	case want == types.VirtualMachinePowerStatePoweredOff:
		return run(vm.PowerOff)
	}
	if now == types.VirtualMachinePowerStatePoweredOff {
		if err := run(vm.PowerOn); err != nil {
			return err
		}
	}
	return run(vm.Suspend)
}

// shutdown is ShutdownGuest: it answers at once, with the type of a fault or none, and the guest goes down in its own time.
func (p *power) shutdown(ref types.ManagedObjectReference) (fault, detail string) {
	now := powerState(ref)
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.guests[ref]
	switch {
	case g == nil || now == "":
		return "ManagedObjectNotFound", fmt.Sprintf(`<obj type="VirtualMachine">%s</obj>`, escapeText(ref.Value))
	case now != types.VirtualMachinePowerStatePoweredOn:
		return "InvalidPowerState", fmt.Sprintf("<requestedState>poweredOn</requestedState><existingState>%s</existingState>", now)
	case g.want.Tools != "toolsOk" && g.want.Tools != "toolsOld":
		return "ToolsUnavailable", ""
	}
	g.shutdowns++
	if g.want.Shutdown < 0 || g.timer != nil {
		return "", ""
	}
	g.timer = time.AfterFunc(time.Duration(g.want.Shutdown*float64(time.Second)), func() {
		if err := p.set(ref, "off"); err != nil {
			log.Printf("shutdown of %s: %v", ref.Value, err)
		}
	})
	return "", ""
}

func (p *power) shutdowns(ref types.ManagedObjectReference) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.guests[ref]; g != nil {
		return g.shutdowns
	}
	return 0
}

func (p *power) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.guests {
		if g.timer != nil {
			g.timer.Stop()
		}
	}
}

// powerState is empty when the VM is gone.
func powerState(ref types.ManagedObjectReference) (state types.VirtualMachinePowerState) {
	vm, ok := simulator.Map.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return ""
	}
	simulator.Map.WithLock(ref, func() { state = vm.Runtime.PowerState })
	return state
}

// The rest makes power a RegisterObject.

func (p *power) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "VcsimBed", Value: "power"}
}

// PutObject sees new tasks before anyone else: one on a snapshot names the snapshot as its entity, which no real server
// does and strict clients refuse.
func (p *power) PutObject(o mo.Reference) {
	task, ok := o.(*simulator.Task)
	if !ok || task.Info.Entity == nil {
		return
	}
	if snapshot, ok := simulator.Map.Get(*task.Info.Entity).(*simulator.VirtualMachineSnapshot); ok {
		vm := snapshot.Vm
		task.Info.Entity = &vm
	}
}

func (p *power) UpdateObject(o mo.Reference, changes []types.PropertyChange) {
	if vm, ok := o.(*mo.VirtualMachine); ok {
		for _, c := range changes {
			if c.Name == "runtime.powerState" {
				p.settle(vm)
			}
		}
	}
}
func (p *power) RemoveObject(ref types.ManagedObjectReference) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.guests[ref]; g != nil && g.timer != nil {
		g.timer.Stop()
	}
	delete(p.guests, ref)
}
