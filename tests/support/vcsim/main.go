// vcsim-bed is the vCenter of our tests: the simulator of Debian's golang-github-vmware-govmomi-dev behind https on
// loopback, filled from a JSON file, with a front that is as strict as a real server where the simulator is lax.
//
//	bed.go        the inventory file, its defaults and its checks
//	site.go       data centres, pools, vApps, networks
//	inventory.go  builds the virtual machines;  devices.go  controllers, disks, NICs;  disks.go  the files of a disk
//	power.go      power states, guest tools, slow shutdowns
//	collector.go  property collector with pages and InvalidProperty
//	schema.go     order and presence of request elements;  soap.go  envelopes and faults
//	front.go      sessions and the way of a SOAP request;  folder.go  datastore reads
//	lease.go      export leases;  nfc.go  their streams;  change.go  what others do to a VM's disks
//	inject.go     faults asked for by a test;  control.go  the plain http listener a test talks to
package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
)

type options struct {
	listen, control, cert, key string
	user, passwordFile         string
	inventory, state           string
	withParent                 bool
	idle                       time.Duration
	page                       int
}

// readyLine is the one line printed on stdout when the bed answers.
type readyLine struct {
	URL        string            `json:"url"`
	Control    string            `json:"control"`
	SHA1       string            `json:"thumbprint_sha1"`
	SHA256     string            `json:"thumbprint_sha256"`
	Datacenter string            `json:"datacenter"` // the first one's inventory path, as dcPath wants it
	Datastores map[string]string `json:"datastores"` // the first one's: name -> directory on this machine
	VMs        []readyVM         `json:"vms"`
}

type readyVM struct {
	Name         string      `json:"name"`
	UUID         string      `json:"uuid"`
	InstanceUUID string      `json:"instance_uuid"`
	Moref        string      `json:"moref"`
	Path         string      `json:"path"` // for FindByInventoryPath
	Disks        []readyDisk `json:"disks"`
}

type readyDisk struct {
	Label string `json:"label"`
	Key   int32  `json:"key"`
	File  string `json:"file"` // "[datastore] vm/vm.vmdk", as the API says
	Path  string `json:"path"` // the flat file on this machine
}

func main() {
	// The kernel keeps the parent-death signal per thread: stay on the one that asks for it.
	runtime.LockOSThread()
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	log.SetPrefix("vcsim-bed: ")
	if err := run(parseFlags()); err != nil {
		log.Fatal(err)
	}
}

func parseFlags() options {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "address of the https server")
	flag.StringVar(&o.control, "control", "127.0.0.1:0", "address of the control endpoint (loopback only)")
	flag.StringVar(&o.cert, "cert", "", "certificate file (PEM)")
	flag.StringVar(&o.key, "key", "", "key file (PEM)")
	flag.StringVar(&o.user, "user", "administrator@vsphere.local", "login name")
	flag.StringVar(&o.passwordFile, "password-file", "", "file whose first line is the password")
	flag.StringVar(&o.inventory, "inventory", "", "bed.json")
	flag.StringVar(&o.state, "state", "", "directory for the datastores; what is made in it is removed at the end")
	flag.BoolVar(&o.withParent, "pid-with-parent", false, "stop when the parent process dies")
	flag.DurationVar(&o.idle, "session-idle", 30*time.Minute, "a session idle for so long is gone")
	flag.IntVar(&o.page, "page", 100, "most objects in one answer of RetrievePropertiesEx, whatever maxObjects says")
	flag.Parse()
	return o
}

func run(o options) error {
	stop := make(chan os.Signal, 4)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	parent := os.Getppid()
	if o.withParent {
		if err := followParent(); err != nil {
			return err
		}
	}

	password, err := firstLine(o.passwordFile)
	if err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return err
	}
	bed, err := readBed(o.inventory)
	if err != nil {
		return err
	}

	root, made, err := stateDir(o.state)
	if err != nil {
		return err
	}
	defer func() {
		_ = os.RemoveAll(root)
		if made {
			_ = os.Remove(o.state) // only when nothing else was put there
		}
	}()

	vc, err := newInventory(bed, root)
	if err != nil {
		return err
	}
	f := &front{
		user: o.user, password: password, idle: o.idle, inventory: vc,
		sessions: map[string]*session{}, counters: newCounters(), faults: &injector{}, leases: newLeases(),
	}
	usePagingCollector(o.page)

	sum1 := sha1.Sum(certificate.Certificate[0])
	f.leases.thumbprint = thumbprint(sum1[:])
	server, address, err := startServer(vc.model.Service, f, o.listen, certificate)
	if err != nil {
		return err
	}
	control, err := startControl(o.control, f)
	if err != nil {
		return err
	}

	sum256 := sha256.Sum256(certificate.Certificate[0])
	line, err := json.Marshal(readyLine{
		URL: "https://" + address + "/sdk", Control: "http://" + control.Addr().String(),
		SHA1: thumbprint(sum1[:]), SHA256: thumbprint(sum256[:]),
		Datacenter: vc.sites[0].path, Datastores: vc.datastores(), VMs: vc.ready,
	})
	if err != nil {
		return err
	}
	fmt.Println(string(line))

	for s := range stop {
		// A parent's thread may end before the parent does: only a new parent counts.
		if s == syscall.SIGHUP && o.withParent && os.Getppid() == parent {
			continue
		}
		break
	}
	_ = control.Close()
	_ = server.Close()
	vc.power.stop()
	return nil
}

// startServer lets the simulator build its routes, then serves them behind our front on a listener of our own.
func startServer(service *simulator.Service, f *front, listen string, certificate tls.Certificate) (*http.Server, string, error) {
	service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(f.user, f.password)}
	routes := service.NewServer()
	f.next = routes.Config.Handler
	routes.Close()

	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, "", err
	}
	address := listener.Addr().String()
	simulator.Map.SessionManager().ServiceHostName = address
	f.leases.host = address
	server := &http.Server{
		Handler:           f,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(quiet{}, "", 0),
		ConnState:         func(_ net.Conn, s http.ConnState) { f.counters.connection(s) },
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // as vCenter and hosts: no HTTP/2
	}
	go func() {
		if err := server.ServeTLS(listener, "", ""); err != http.ErrServerClosed {
			log.Print(err)
		}
	}()
	return server, address, nil
}

// quiet drops what net/http says about clients that go away or refuse our certificate: tests do so on purpose.
type quiet struct{}

func (quiet) Write(b []byte) (int, error) { return len(b), nil }

// followParent asks for SIGHUP at the parent's death (prctl PR_SET_PDEATHSIG).
func followParent() error {
	const setParentDeathSignal = 1
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setParentDeathSignal, uintptr(syscall.SIGHUP), 0); errno != 0 {
		return fmt.Errorf("prctl: %w", errno)
	}
	return nil
}

func stateDir(state string) (dir string, made bool, err error) {
	if state == "" {
		return "", false, fmt.Errorf("--state is missing")
	}
	if _, err = os.Stat(state); os.IsNotExist(err) {
		made = true
	}
	if err = os.MkdirAll(state, 0o700); err != nil {
		return "", false, err
	}
	if state, err = filepath.Abs(state); err != nil { // the ready line names files
		return "", made, err
	}
	dir, err = os.MkdirTemp(state, "bed-")
	return dir, made, err
}

func firstLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	line := strings.TrimRight(strings.SplitN(string(b), "\n", 2)[0], "\r")
	if line == "" {
		return "", fmt.Errorf("--password-file: %s is empty", path)
	}
	return line, nil
}

func thumbprint(sum []byte) string {
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = strings.ToUpper(hex.EncodeToString([]byte{b}))
	}
	return strings.Join(pairs, ":")
}
