package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
)

// Datastore reads: /folder/PATH?dcPath=DC&dsName=DS.

var copyBuffers = sync.Pool{New: func() interface{} { b := make([]byte, 256<<10); return &b }}

func (f *front) serveFolder(w http.ResponseWriter, r *http.Request) {
	if f.live(r) == "" && !f.basicLogin(r) {
		f.counters.unauthorized()
		w.Header().Set("WWW-Authenticate", `Basic realm="VMware HTTP server"`)
		http.Error(w, "<html><body>Authentication required</body></html>", http.StatusUnauthorized)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "<html><body>Method not allowed</body></html>", http.StatusMethodNotAllowed)
		return
	}
	name := path.Clean("/" + strings.TrimPrefix(r.URL.Path, "/folder/"))[1:]
	query := r.URL.Query()
	// A name is taken as written and, as vCenter does, encoded once more; govmomi starts dcPath with a slash.
	home := f.inventory.store(strings.TrimPrefix(query.Get("dcPath"), "/"), query.Get("dsName"))
	injected := f.faults.takeFolder(name)
	if injected != nil {
		if !injected.pause(r) {
			panic(http.ErrAbortHandler)
		}
		if injected.Status != 0 {
			f.counters.folder(name)
			http.Error(w, "<html><body>injected by the test</body></html>", injected.Status)
			return
		}
	} else {
		injected = &injection{}
	}
	if home == nil {
		http.Error(w, "<html><body>Not found</body></html>", http.StatusNotFound)
		return
	}
	file, err := os.Open(home.onThisMachine(name))
	if err != nil {
		http.Error(w, "<html><body>Not found</body></html>", http.StatusNotFound)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.Error(w, "<html><body>Not found</body></html>", http.StatusNotFound)
		return
	}
	f.counters.folder(name)
	f.sendFile(w, r, file, info, name, injected)
}

func (f *front) sendFile(w http.ResponseWriter, r *http.Request, file *os.File, info os.FileInfo, name string, i *injection) {
	size := info.Size()
	header := w.Header()
	header.Set("Accept-Ranges", "bytes")
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Last-Modified", info.ModTime().UTC().Format(http.TimeFormat))

	start, length, status := int64(0), size, http.StatusOK
	if asked := r.Header.Get("Range"); asked != "" && !i.IgnoreRange {
		first, last, kind := parseRange(asked, size)
		switch kind {
		case rangeBeyond:
			header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			http.Error(w, "<html><body>Range not satisfiable</body></html>", http.StatusRequestedRangeNotSatisfiable)
			return
		case rangeOne:
			start, length, status = first, last-first+1, http.StatusPartialContent
			if i.WrongRange {
				if start += sector; start+length > size {
					start = size - length - sector
				}
				if start < 0 {
					start, length = sector, size-sector
				}
			}
			header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, start+length-1, size))
		}
	}
	if i.Short {
		length /= 2
	}
	header.Set("Content-Length", strconv.FormatInt(length, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	stopAt := length
	switch {
	case i.Drop != nil && *i.Drop < length:
		stopAt = *i.Drop
	case i.Stall:
		stopAt = length / 2
	}
	f.copyOut(w, r, io.NewSectionReader(file, start, stopAt), name, i.Corrupt)
	if stopAt == length {
		return
	}
	if flusher, ok := w.(http.Flusher); ok {
		flusher.Flush()
	}
	if i.Stall {
		<-r.Context().Done()
	}
	panic(http.ErrAbortHandler) // closes the connection in the middle of the body
}

// copyOut sends the reader's bytes. A file that ends early (deleted, truncated) ends the connection.
func (f *front) copyOut(w http.ResponseWriter, r *http.Request, in io.Reader, name string, corrupt bool) {
	pooled := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(pooled)
	for {
		n, err := io.ReadFull(in, (*pooled)[:f.rate.chunk(len(*pooled))])
		if n > 0 {
			if corrupt {
				(*pooled)[0] ^= 0xff
				corrupt = false
			}
			if !f.rate.wait(r, n) {
				panic(http.ErrAbortHandler)
			}
			sent, werr := w.Write((*pooled)[:n])
			f.counters.sent(name, int64(sent))
			if werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

type rangeKind int

const (
	rangeNone   rangeKind = iota // absent, malformed or several: the whole file, as the header may be ignored
	rangeOne                     // first to last
	rangeBeyond                  // starts past the end
)

func parseRange(header string, size int64) (first, last int64, kind rangeKind) {
	spec := strings.TrimSpace(strings.TrimPrefix(header, "bytes="))
	dash := strings.IndexByte(spec, '-')
	if !strings.HasPrefix(header, "bytes=") || strings.Contains(spec, ",") || dash < 0 {
		return 0, 0, rangeNone
	}
	from, to := spec[:dash], spec[dash+1:]
	if from == "" { // the last n bytes
		n, err := strconv.ParseInt(to, 10, 64)
		if err != nil || n < 0 {
			return 0, 0, rangeNone
		}
		if n == 0 || size == 0 {
			return 0, 0, rangeBeyond
		}
		if n > size {
			n = size
		}
		return size - n, size - 1, rangeOne
	}
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil || first < 0 {
		return 0, 0, rangeNone
	}
	last = size - 1
	if to != "" {
		asked, err := strconv.ParseInt(to, 10, 64)
		if err != nil || asked < first {
			return 0, 0, rangeNone
		}
		if asked < last {
			last = asked
		}
	}
	if first >= size {
		return 0, 0, rangeBeyond
	}
	return first, last, rangeOne
}

func (f *front) basicLogin(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	return ok && user == f.user && password == f.password
}

func sameName(asked, want string) bool {
	if asked == want {
		return true
	}
	once, err := url.QueryUnescape(asked)
	return err == nil && once == want
}
