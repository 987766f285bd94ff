package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// counters is what a test may look at afterwards.
type counters struct {
	mu sync.Mutex
	s  countersState
}

type countersState struct {
	Logins        int                    `json:"logins"`
	InvalidLogins int                    `json:"invalid_logins"`
	Logouts       int                    `json:"logouts"`
	Refused       int                    `json:"invalid_requests"` // by the schema check
	Unauthorized  int                    `json:"folder_unauthorized"`
	Calls         map[string]int         `json:"calls"` // SOAP requests by method, refused and injected ones included
	Folder        folderState            `json:"folder"`
	Connections   int                    `json:"open_connections"`
	Accepted      int                    `json:"accepted_connections"`
	Sessions      int                    `json:"sessions"`
	VMs           map[string]interface{} `json:"vms"` // by managed object id
	Leases        leasesState            `json:"leases"`
}

type folderState struct {
	Requests int                 `json:"requests"`
	Bytes    int64               `json:"bytes"`
	Files    map[string]*fileUse `json:"files"`
}

type fileUse struct {
	Requests int   `json:"requests"`
	Bytes    int64 `json:"bytes"`
}

type vmState struct {
	Name      string   `json:"name"`
	Power     string   `json:"power"`
	Shutdowns int      `json:"shutdown_requests"`
	Snapshots []string `json:"snapshots"`
}

func newCounters() *counters {
	return &counters{s: countersState{Calls: map[string]int{}, Folder: folderState{Files: map[string]*fileUse{}}}}
}

func (c *counters) change(f func(*countersState)) { c.mu.Lock(); f(&c.s); c.mu.Unlock() }

func (c *counters) call(method string) { c.change(func(s *countersState) { s.Calls[method]++ }) }
func (c *counters) refuse()            { c.change(func(s *countersState) { s.Refused++ }) }
func (c *counters) logout()            { c.change(func(s *countersState) { s.Logouts++ }) }
func (c *counters) unauthorized()      { c.change(func(s *countersState) { s.Unauthorized++ }) }

func (c *counters) login(ok bool) {
	c.change(func(s *countersState) {
		if ok {
			s.Logins++
		} else {
			s.InvalidLogins++
		}
	})
}

func (c *counters) connection(state http.ConnState) {
	c.change(func(s *countersState) {
		switch state {
		case http.StateNew:
			s.Connections++
			s.Accepted++
		case http.StateClosed, http.StateHijacked:
			s.Connections--
		}
	})
}

func (c *counters) folder(file string) {
	c.change(func(s *countersState) {
		s.Folder.Requests++
		if s.Folder.Files[file] == nil {
			s.Folder.Files[file] = &fileUse{}
		}
		s.Folder.Files[file].Requests++
	})
}

func (c *counters) sent(file string, n int64) {
	c.change(func(s *countersState) {
		s.Folder.Bytes += n
		s.Folder.Files[file].Bytes += n
	})
}

// startControl listens for tests. It has no login, so it refuses to listen anywhere but on loopback.
func startControl(address string, f *front) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		_ = listener.Close()
		return nil, fmt.Errorf("--control %s is not a loopback address", address)
	}
	mux := http.NewServeMux()
	post(mux, "/deny", func(body []byte) (interface{}, error) {
		var ask struct {
			Paths []string `json:"paths"`
		}
		err := decode(body, &ask)
		denyProperties(ask.Paths)
		return map[string]bool{"ok": true}, err
	})
	mux.HandleFunc("/state", func(w http.ResponseWriter, r *http.Request) { reply(w, f.state()) })
	post(mux, "/fault", f.controlFault)
	post(mux, "/vm", f.controlVM)
	post(mux, "/delete-file", f.controlDelete)
	post(mux, "/lease", f.controlLease)
	post(mux, "/expire-sessions", func([]byte) (interface{}, error) {
		return map[string]int{"expired": f.expireAll()}, nil
	})
	go func() { _ = http.Serve(listener, mux) }() // ends with the listener
	return listener, nil
}

// post adds a route that takes JSON and answers with JSON, or 400 and the reason.
func post(mux *http.ServeMux, route string, act func([]byte) (interface{}, error)) {
	mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.Error(w, "POST only", http.StatusMethodNotAllowed)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			var answer interface{}
			if answer, err = act(body); err == nil {
				reply(w, answer)
				return
			}
		}
		http.Error(w, err.Error(), http.StatusBadRequest)
	})
}

func reply(w http.ResponseWriter, answer interface{}) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		log.Printf("control: %v", err)
	}
}

func decode(body []byte, into interface{}) error {
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// controlFault takes one injection, {"clear":true}, or {"rate_bytes_per_second":N} (0: no limit).
func (f *front) controlFault(body []byte) (interface{}, error) {
	var ask struct {
		injection
		Clear bool   `json:"clear"`
		Rate  *int64 `json:"rate_bytes_per_second"`
	}
	if err := decode(body, &ask); err != nil {
		return nil, err
	}
	switch {
	case ask.Clear:
		f.faults.clear()
		f.rate.set(0)
	case ask.Rate != nil:
		f.rate.set(*ask.Rate)
	case (ask.Method != "") == ask.Folder:
		return nil, fmt.Errorf("either method or folder")
	case ask.onlyDelay() && ask.DelayMS <= 0 && ask.LateMS <= 0:
		return nil, fmt.Errorf("nothing to do wrong")
	default:
		f.faults.add(ask.injection)
	}
	return map[string]bool{"ok": true}, nil
}

// controlVM changes a VM behind the client's back. The name may also be a uuid, a managed object id or an inventory path.
func (f *front) controlVM(body []byte) (interface{}, error) {
	var ask struct {
		Name    string            `json:"name"`
		Power   string            `json:"power"`
		Destroy bool              `json:"destroy"`
		Host    string            `json:"host"`       // moves it there
		Grow    int64             `json:"grow_bytes"` // the first disk, by so much
		Delta   bool              `json:"snapshot"`   // of every disk, as somebody else would take it
		Written bool              `json:"written"`    // and something has been written to the disks since
		Set     map[string]string `json:"set"`        // property path -> value, as "extra" of the inventory file
	}
	if err := decode(body, &ask); err != nil {
		return nil, err
	}
	ref, err := f.inventory.vm(ask.Name)
	if err != nil {
		return nil, err
	}
	vm, ok := simulator.Map.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return nil, fmt.Errorf("%s is gone", ask.Name)
	}
	if ask.Host != "" {
		if err := moveTo(vm, ask.Host); err != nil {
			return nil, err
		}
	}
	for name, value := range ask.Set {
		simulator.Map.WithLock(ref, func() { err = setProperty(vm, name, value) })
		if err != nil {
			return nil, err
		}
	}
	if ask.Grow != 0 {
		if err := f.inventory.grow(vm, ask.Grow); err != nil {
			return nil, err
		}
	}
	if ask.Delta {
		if err := f.inventory.takeSnapshot(vm, ask.Written); err != nil {
			return nil, err
		}
	}
	if ask.Destroy {
		ask.Power = "off"
	}
	if ask.Power != "" {
		if err := f.inventory.power.set(ref, ask.Power); err != nil {
			return nil, err
		}
	}
	if ask.Destroy {
		return map[string]string{"moref": ref.Value}, f.inventory.destroy(ref)
	}
	return map[string]string{"moref": ref.Value, "power": string(powerState(ref))}, nil
}

// controlLease changes what the leases to come are like; {"expire":true} ends the ones that live as if nobody had reported.
func (f *front) controlLease(body []byte) (interface{}, error) {
	l := f.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	ask := struct {
		leaseSettings
		Expire bool `json:"expire"`
	}{leaseSettings: l.settings}
	if err := decode(body, &ask); err != nil {
		return nil, err
	}
	l.settings = ask.leaseSettings
	if ask.Expire {
		for _, each := range l.list {
			l.expired++
			l.fail(each, &types.Timedout{}, "The lease has timed out.")
		}
	}
	return map[string]bool{"ok": true}, nil
}

func (v *inventory) destroy(ref types.ManagedObjectReference) error {
	ctx := context.Background()
	task, err := object.NewVirtualMachine(v.client, ref).Destroy(ctx)
	if err != nil {
		return err
	}
	return task.Wait(ctx)
}

// controlDelete removes a file of the first data centre's datastore; the path is "vm/file" or "[datastore] vm/file".
func (f *front) controlDelete(body []byte) (interface{}, error) {
	var ask struct {
		Path string `json:"path"`
	}
	if err := decode(body, &ask); err != nil {
		return nil, err
	}
	first := f.inventory.sites[0]
	name := path.Clean("/" + strings.TrimPrefix(ask.Path, "["+first.datastoreName+"] "))[1:]
	if name == "" {
		return nil, fmt.Errorf("no path")
	}
	return map[string]string{"deleted": name}, os.Remove(first.onThisMachine(name))
}

func (f *front) state() interface{} {
	f.counters.mu.Lock()
	blob, err := json.Marshal(f.counters.s)
	f.counters.mu.Unlock()
	var s countersState
	if err == nil {
		err = json.Unmarshal(blob, &s) // a copy, so that encoding needs no lock
	}
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	s.Sessions = f.liveSessions()
	s.Leases = f.leases.state()
	s.VMs = map[string]interface{}{}
	for _, known := range f.inventory.ready {
		ref := types.ManagedObjectReference{Type: "VirtualMachine", Value: known.Moref}
		state := vmState{Name: known.Name, Power: string(powerState(ref)),
			Shutdowns: f.inventory.power.shutdowns(ref), Snapshots: []string{}}
		if vm, ok := simulator.Map.Get(ref).(*simulator.VirtualMachine); ok {
			simulator.Map.WithLock(ref, func() {
				if vm.Snapshot != nil {
					state.Snapshots = snapshotNames(vm.Snapshot.RootSnapshotList, state.Snapshots)
				}
			})
		} else {
			state.Power = "gone"
		}
		s.VMs[known.Moref] = state
	}
	return s
}

func snapshotNames(tree []types.VirtualMachineSnapshotTree, names []string) []string {
	for _, node := range tree {
		names = snapshotNames(node.ChildSnapshotList, append(names, node.Name))
	}
	return names
}
