package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Export leases (HttpNfcLease), which the simulator lacks. As on a real server a lease belongs to the session that asked
// for it, becomes ready a little later, ends in an error when nobody reports progress, blocks the VM as long as it lives,
// and is gone for good once it was completed or aborted.

// leaseSettings are a test's wishes for the leases to come (POST /lease).
type leaseSettings struct {
	Timeout         float64 `json:"timeout_seconds"`    // without progress
	InitializeMS    int64   `json:"initialize_ms"`      // until it is ready
	OutlivesSession bool    `json:"outlives_session"`   // other sessions may use it, and it lives on after its own
	Streams         int     `json:"streams"`            // most disks read at once, 0: any; more are answered 503
	AnyHost         bool    `json:"star_host"`          // URLs say "*", as a host's do
	NoThumbprint    bool    `json:"without_thumbprint"` // URLs come without the digest of the certificate
}

type lease struct {
	mo.HttpNfcLease
	session  string
	vm       types.ManagedObjectReference
	timeout  time.Duration
	progress time.Time
	calls    int // of HttpNfcLeaseProgress
	timer    *time.Timer
	outlives bool
	files    map[string]string // ticket -> raw content
	ended    chan struct{}     // closed when it is over: streams stop
}

type leases struct {
	mu         sync.Mutex
	settings   leaseSettings
	list       map[types.ManagedObjectReference]*lease
	thumbprint string
	host       string
	streams    int

	begun, completed, aborted, expired int
	progressCalls                      int
}

type leaseState struct {
	Moref         string  `json:"moref"`
	VM            string  `json:"vm"`
	State         string  `json:"state"`
	ProgressCalls int     `json:"progress_calls"`
	Percent       int32   `json:"percent"`
	Idle          float64 `json:"idle_seconds"`
}

type leasesState struct {
	Begun         int          `json:"begun"`
	Completed     int          `json:"completed"`
	Aborted       int          `json:"aborted"`
	Expired       int          `json:"expired"`
	ProgressCalls int          `json:"progress_calls"`
	Streams       int          `json:"streams"`
	Live          []leaseState `json:"live"`
}

func newLeases() *leases {
	return &leases{settings: leaseSettings{Timeout: 300}, list: map[types.ManagedObjectReference]*lease{}}
}

func (l *leases) state() leasesState {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := leasesState{Begun: l.begun, Completed: l.completed, Aborted: l.aborted, Expired: l.expired,
		ProgressCalls: l.progressCalls, Streams: l.streams, Live: []leaseState{}}
	for ref, each := range l.list {
		s.Live = append(s.Live, leaseState{ref.Value, each.vm.Value, string(each.State), each.calls,
			each.TransferProgress, time.Since(each.progress).Seconds()})
	}
	sort.Slice(s.Live, func(a, b int) bool { return s.Live[a].Moref < s.Live[b].Moref })
	return s
}

// holds tells whether a lease keeps the VM from being started or leased again.
func (l *leases) holds(vm types.ManagedObjectReference) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, each := range l.list {
		if each.vm == vm && each.State != types.HttpNfcLeaseStateError {
			return true
		}
	}
	return false
}

// visible is the lease as this session sees it: nil when there is none.
func (l *leases) visible(ref types.ManagedObjectReference, session string) *lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.list[ref]
	if found == nil || (found.session != session && !found.outlives) {
		return nil
	}
	return found
}

// serve answers the methods of leases; false: not one of them.
func (l *leases) serve(w http.ResponseWriter, f *front, request *element, session string) bool {
	this := request.child("_this")
	ref := types.ManagedObjectReference{Type: attribute(this, "type"), Value: strings.TrimSpace(this.text)}
	switch request.name.Local {
	case "ExportVm":
		l.export(w, f, ref, session)
	case "PowerOnVM_Task":
		if !l.holds(ref) {
			return false
		}
		writeFault(w, "TaskInProgress", "The operation is not allowed while the virtual machine is exported.",
			`<task type="Task">export</task>`)
	case "HttpNfcLeaseProgress", "HttpNfcLeaseComplete", "HttpNfcLeaseAbort":
		found := l.visible(ref, session)
		if found == nil {
			writeFault(w, "ManagedObjectNotFound", "The object has already been deleted or has not been completely created",
				`<obj type="HttpNfcLease">`+escapeText(ref.Value)+`</obj>`)
			return true
		}
		l.act(w, found, request)
	case "RetrievePropertiesEx":
		return l.hideForeign(w, request, session)
	default:
		return false
	}
	return true
}

// hideForeign answers for leases that this session cannot see; false: nothing to hide.
func (l *leases) hideForeign(w http.ResponseWriter, request *element, session string) bool {
	for _, set := range request.children {
		for _, object := range set.children {
			obj := object.child("obj")
			if object.name.Local != "objectSet" || obj == nil || attribute(obj, "type") != "HttpNfcLease" {
				continue
			}
			ref := types.ManagedObjectReference{Type: "HttpNfcLease", Value: strings.TrimSpace(obj.text)}
			if l.visible(ref, session) == nil {
				writeFault(w, "ManagedObjectNotFound", "The object has already been deleted",
					`<obj type="HttpNfcLease">`+escapeText(ref.Value)+`</obj>`)
				return true
			}
		}
	}
	return false
}

func (l *leases) export(w http.ResponseWriter, f *front, vm types.ManagedObjectReference, session string) {
	entity, ok := simulator.Map.Get(vm).(*simulator.VirtualMachine)
	if !ok {
		writeFault(w, "ManagedObjectNotFound", "", `<obj type="VirtualMachine">`+escapeText(vm.Value)+`</obj>`)
		return
	}
	if now := powerState(vm); now != types.VirtualMachinePowerStatePoweredOff {
		writeFault(w, "InvalidPowerState", "", fmt.Sprintf(
			"<requestedState>poweredOff</requestedState><existingState>%s</existingState>", now))
		return
	}
	if l.holds(vm) {
		writeFault(w, "TaskInProgress", "The virtual machine is exported already.", `<task type="Task">export</task>`)
		return
	}
	made := &lease{session: session, vm: vm, files: map[string]string{}, ended: make(chan struct{}), progress: time.Now()}
	made.Self = types.ManagedObjectReference{Type: "HttpNfcLease", Value: "session[" + session + "]" + randomHex(16)}
	made.State = types.HttpNfcLeaseStateInitializing

	l.mu.Lock()
	settings := l.settings
	made.outlives = settings.OutlivesSession
	made.timeout = time.Duration(settings.Timeout * float64(time.Second))
	made.Info = &types.HttpNfcLeaseInfo{Lease: made.Self, Entity: vm, LeaseTimeout: int32(settings.Timeout + 0.5)}
	simulator.Map.WithLock(vm, func() { l.listDisks(made, f.inventory, entity) })
	l.list[made.Self] = made
	l.begun++
	simulator.Map.Put(made)
	made.timer = time.AfterFunc(time.Duration(settings.InitializeMS)*time.Millisecond, func() { l.ready(made) })
	l.mu.Unlock()

	writeEnvelope(w, http.StatusOK, `<ExportVmResponse xmlns="`+vimNamespace+`"><returnval type="HttpNfcLease">`+
		escapeText(made.Self.Value)+`</returnval></ExportVmResponse>`)
}

// listDisks makes a URL for each disk, and one for something that is no disk. The caller holds both locks.
func (l *leases) listDisks(made *lease, inventory *inventory, vm *simulator.VirtualMachine) {
	host := l.host
	if l.settings.AnyHost {
		host = "*" // and no port either: whoever asks knows where
	}
	thumbprint := l.thumbprint
	if l.settings.NoThumbprint {
		thumbprint = ""
	}
	add := func(key, name, content string, disk bool) {
		ticket := randomHex(16)
		made.files[ticket] = content
		made.Info.DeviceUrl = append(made.Info.DeviceUrl, types.HttpNfcLeaseDeviceUrl{
			Key: "/" + vm.Self.Value + "/" + key, ImportKey: "/" + vm.Name + "/" + key, Disk: types.NewBool(disk),
			Url: fmt.Sprintf("https://%s/nfc/%s/%s", host, ticket, name), SslThumbprint: thumbprint, TargetId: name,
		})
	}
	add("nvram", vm.Name+".nvram", "", false)
	number := 0
	for _, device := range vm.Config.Hardware.Device {
		disk, ok := device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		kind, busNumber := "VirtualSCSIController", int32(0)
		for _, other := range vm.Config.Hardware.Device {
			if c, ok := other.(types.BaseVirtualController); ok && c.GetVirtualController().Key == disk.ControllerKey {
				kind = strings.TrimPrefix(fmt.Sprintf("%T", other), "*types.")
				busNumber = c.GetVirtualController().BusNumber
			}
		}
		add(fmt.Sprintf("%s%d:%d", kind, busNumber, *disk.UnitNumber), fmt.Sprintf("disk-%d.vmdk", number),
			inventory.content[made.vm][disk.Key], true)
		made.Info.TotalDiskCapacityInKB += disk.CapacityInKB
		number++
	}
}

func (l *leases) ready(made *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.list[made.Self] != made {
		return
	}
	l.change(made, func() { made.State, made.InitializeProgress = types.HttpNfcLeaseStateReady, 100 })
	made.progress = time.Now()
	made.timer = time.AfterFunc(made.timeout, func() { l.expire(made) })
}

// expire looks whether progress was reported in time.
func (l *leases) expire(made *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.list[made.Self] != made || made.State != types.HttpNfcLeaseStateReady {
		return
	}
	if left := made.timeout - time.Since(made.progress); left > 0 {
		made.timer = time.AfterFunc(left, func() { l.expire(made) })
		return
	}
	l.expired++
	l.fail(made, &types.Timedout{}, "The lease has timed out.")
}

// fail leaves the lease where its session can read why it ended. The caller holds the lock.
func (l *leases) fail(made *lease, why types.BaseMethodFault, text string) {
	if made.State == types.HttpNfcLeaseStateError {
		return
	}
	l.change(made, func() {
		made.State = types.HttpNfcLeaseStateError
		made.Error = &types.LocalizedMethodFault{Fault: why, LocalizedMessage: text}
	})
	close(made.ended)
}

func (l *leases) change(made *lease, how func()) { simulator.Map.WithLock(made.Self, how) }

// remove ends a lease for good. The caller holds the lock.
func (l *leases) remove(made *lease) {
	if l.list[made.Self] != made {
		return
	}
	made.timer.Stop()
	if made.State != types.HttpNfcLeaseStateError {
		close(made.ended)
	}
	delete(l.list, made.Self)
	simulator.Map.Remove(made.Self)
}

func (l *leases) act(w http.ResponseWriter, found *lease, request *element) {
	l.mu.Lock()
	defer l.mu.Unlock()
	method := request.name.Local
	if found.State != types.HttpNfcLeaseStateReady && method != "HttpNfcLeaseAbort" {
		writeFault(w, map[bool]string{true: "Timedout", false: "InvalidState"}[found.State == types.HttpNfcLeaseStateError], "", "")
		return
	}
	switch method {
	case "HttpNfcLeaseProgress":
		percent, _ := strconv.Atoi(strings.TrimSpace(request.child("percent").text)) // the schema check read it
		if percent < 0 || percent > 100 {
			writeFault(w, "InvalidArgument", "percent", "<invalidProperty>percent</invalidProperty>")
			return
		}
		l.change(found, func() { found.TransferProgress = int32(percent) })
		found.progress = time.Now()
		found.calls++
		l.progressCalls++
	case "HttpNfcLeaseComplete":
		l.completed++
		l.remove(found)
	case "HttpNfcLeaseAbort":
		l.aborted++
		l.remove(found)
	}
	writeEnvelope(w, http.StatusOK, fmt.Sprintf(`<%sResponse xmlns="%s"></%sResponse>`, method, vimNamespace, method))
}

// sessionGone ends what belonged to a session.
func (l *leases) sessionGone(session string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, each := range l.list {
		if each.session == session && !each.outlives {
			l.aborted++
			l.remove(each)
		}
	}
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	if _, err := rand.Read(b); err != nil {
		panic(err)
	}
	return hex.EncodeToString(b)
}
