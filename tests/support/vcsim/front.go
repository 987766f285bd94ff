package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

const (
	sessionCookie  = "vmware_soap_session"
	maxRequestBody = 16 << 20
)

// front stands before the simulator. It alone decides who is logged in; the simulator is only reached by requests that
// a real server would have let through.
type front struct {
	next           http.Handler
	user, password string
	idle           time.Duration
	inventory      *inventory
	counters       *counters
	leases         *leases
	faults         *injector
	rate           limiter

	mu       sync.Mutex
	sessions map[string]*session
}

type session struct {
	used time.Time
}

// Methods a real vCenter answers without a login.
var openMethods = map[string]bool{"RetrieveServiceContent": true, "Login": true}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/folder/"):
		f.serveFolder(w, r)
	case strings.HasPrefix(r.URL.Path, "/nfc/"):
		f.serveNFC(w, r)
	case r.URL.Path == "/sdk/vimServiceVersions.xml":
		f.next.ServeHTTP(w, r)
	case r.URL.Path == "/sdk" || r.URL.Path == "/sdk/vimService":
		if r.Method != http.MethodPost {
			http.Error(w, "<html><body>Method not allowed</body></html>", http.StatusMethodNotAllowed)
			return
		}
		f.serveSOAP(w, r)
	default:
		http.Error(w, "<html><body>Not found</body></html>", http.StatusNotFound)
	}
}

func (f *front) serveSOAP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBody))
	if err != nil {
		http.Error(w, "<html><body>Bad request</body></html>", http.StatusBadRequest)
		return
	}
	request, err := parseRequest(body)
	if err != nil {
		writeFault(w, "InvalidRequest", err.Error(), "")
		return
	}
	method := request.name.Local
	f.counters.call(method)
	late := time.Duration(0)
	if injected := f.faults.take(func(i *injection) bool { return i.Method == method }); injected != nil {
		late = time.Duration(injected.LateMS) * time.Millisecond
		if !injected.pause(r) {
			panic(http.ErrAbortHandler)
		}
		if !injected.onlyDelay() {
			f.injectSOAP(w, r, injected)
			return
		}
	}
	if err := checkRequest(request); err != nil {
		f.counters.refuse()
		writeFault(w, "InvalidRequest", err.Error(), "")
		return
	}

	key := f.live(r)
	if key == "" {
		// Forget a dead cookie, or the simulator would take its owner for logged in.
		r.Header.Del("Cookie")
		if !openMethods[method] {
			this := request.child("_this")
			writeFault(w, "NotAuthenticated", "The session is not authenticated.",
				`<object type="`+escapeText(attribute(this, "type"))+`">`+escapeText(strings.TrimSpace(this.text))+
					`</object><privilegeId>System.View</privilegeId>`)
			return
		}
	}

	if key != "" && f.leases.serve(w, f, request, key) {
		return
	}
	answer := &answerWriter{ResponseWriter: w, late: late}
	switch method {
	case "ShutdownGuest":
		vm := types.ManagedObjectReference{Type: "VirtualMachine", Value: strings.TrimSpace(request.child("_this").text)}
		if fault, detail := f.inventory.power.shutdown(vm); fault != "" {
			writeFault(w, fault, "", detail)
			return
		}
		writeEnvelope(w, http.StatusOK, `<ShutdownGuestResponse xmlns="`+vimNamespace+`"></ShutdownGuestResponse>`)
		return
	case "Login":
		answer.cookie = f.open
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	f.next.ServeHTTP(answer, r)
	switch {
	case method == "Login":
		f.counters.login(answer.status == http.StatusOK)
	case method == "Logout" && answer.status == http.StatusOK:
		f.close(key)
		f.counters.logout()
	}
}

// live answers with the key of the request's session, empty when it has none that lives, and marks it used.
func (f *front) live(r *http.Request) string {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	key := strings.Trim(cookie.Value, `"`)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sessions[key]
	if s == nil {
		return ""
	}
	if time.Since(s.used) > f.idle {
		delete(f.sessions, key)
		return ""
	}
	s.used = time.Now()
	return key
}

// open registers the simulator's new session and answers with the cookie as a real server writes it: quoted and Secure.
func (f *front) open(key string) string {
	f.mu.Lock()
	f.sessions[key] = &session{used: time.Now()}
	f.mu.Unlock()
	return sessionCookie + `="` + key + `"; Path=/; HttpOnly; Secure`
}

func (f *front) close(key string) {
	f.mu.Lock()
	delete(f.sessions, key)
	f.mu.Unlock()
	f.leases.sessionGone(key)
}

func (f *front) expireAll() int {
	f.mu.Lock()
	ended := f.sessions
	f.sessions = map[string]*session{}
	f.mu.Unlock()
	for key := range ended {
		f.leases.sessionGone(key)
	}
	return len(ended)
}

func (f *front) liveSessions() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sessions {
		if time.Since(s.used) <= f.idle {
			n++
		}
	}
	return n
}

func (f *front) injectSOAP(w http.ResponseWriter, r *http.Request, i *injection) {
	switch {
	case i.Drop != nil || i.Stall: // SOAP answers have no bytes worth counting: the connection just ends
		panic(http.ErrAbortHandler)
	case i.Status != 0:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(i.Status)
		_, _ = io.WriteString(w, "<html><body>injected by the test</body></html>")
	default:
		if i.Fault == "NotAuthenticated" {
			f.close(f.live(r))
		}
		writeFault(w, i.Fault, i.Message, i.Detail)
	}
}

// answerWriter sees the status and may rewrite the session cookie.
type answerWriter struct {
	http.ResponseWriter
	status int
	cookie func(key string) string
	late   time.Duration // after all is done, before the client hears of it
}

func (a *answerWriter) WriteHeader(status int) {
	a.status = status
	if a.cookie != nil {
		for _, c := range (&http.Response{Header: a.Header()}).Cookies() {
			if c.Name == sessionCookie {
				a.Header().Set("Set-Cookie", a.cookie(strings.Trim(c.Value, `"`)))
			}
		}
	}
	time.Sleep(a.late)
	a.ResponseWriter.WriteHeader(status)
}

func attribute(e *element, name string) string {
	for _, a := range e.attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
