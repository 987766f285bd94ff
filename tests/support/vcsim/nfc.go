package main

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// /nfc/TICKET/disk-N.vmdk: a leased disk as one streamOptimized VMDK, made while it is sent. As a host does: no login
// beyond the ticket in the path, no length, no ranges, as many streams as the lease settings allow.

func (f *front) serveNFC(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/nfc/"), "/")
	name := "nfc/" + parts[len(parts)-1]
	if r.Method != http.MethodGet {
		http.Error(w, "<html><body>Method not allowed</body></html>", http.StatusMethodNotAllowed)
		return
	}
	injected := f.faults.takeFolder(name)
	if injected == nil {
		injected = &injection{}
	}
	if !injected.pause(r) {
		panic(http.ErrAbortHandler)
	}
	if injected.Status != 0 {
		http.Error(w, "<html><body>injected by the test</body></html>", injected.Status)
		return
	}
	content, ended, refusal := f.leases.admit(parts[0])
	if refusal != 0 {
		http.Error(w, "<html><body>"+http.StatusText(refusal)+"</body></html>", refusal)
		return
	}
	defer f.leases.leave()
	file, err := os.Open(content)
	if err != nil {
		http.Error(w, "<html><body>Not found</body></html>", http.StatusNotFound)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		http.Error(w, "<html><body>Not found</body></html>", http.StatusNotFound)
		return
	}
	f.counters.folder(name)
	w.Header().Set("Content-Type", "application/x-vnd.vmware-streamVmdk")
	out := &nfcWriter{f: f, w: w, r: r, name: name, ended: ended, injected: injected}
	if writeStream(out, file, info.Size()) != nil {
		panic(http.ErrAbortHandler) // the client sees a broken stream, never a short one that looks whole
	}
}

// admit lets a ticket in, or answers with the HTTP status that refuses it.
func (l *leases) admit(ticket string) (content string, ended chan struct{}, refusal int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, each := range l.list {
		content, known := each.files[ticket]
		if !known || each.State != types.HttpNfcLeaseStateReady {
			continue
		}
		if l.settings.Streams > 0 && l.streams >= l.settings.Streams {
			return "", nil, http.StatusServiceUnavailable
		}
		l.streams++
		return content, each.ended, 0
	}
	return "", nil, http.StatusNotFound
}

func (l *leases) leave() { l.mu.Lock(); l.streams--; l.mu.Unlock() }

// nfcWriter sends at the rate asked for, does what a test wants done wrong, and stops when the lease is over.
type nfcWriter struct {
	f        *front
	w        http.ResponseWriter
	r        *http.Request
	name     string
	ended    chan struct{}
	injected *injection
	sent     int64
}

func (n *nfcWriter) Write(b []byte) (int, error) {
	whole := len(b)
	for len(b) > 0 {
		select {
		case <-n.ended:
			return 0, io.ErrClosedPipe
		default:
		}
		piece := b[:n.f.rate.chunk(len(b))]
		if drop := n.injected.Drop; drop != nil && n.sent+int64(len(piece)) > *drop {
			piece = piece[:*drop-n.sent]
		}
		if n.injected.Corrupt && n.sent <= 128*sector+200 && n.sent+int64(len(piece)) > 128*sector+200 {
			piece = append([]byte(nil), piece...)
			piece[128*sector+200-n.sent] ^= 0xff // inside the first grain
		}
		if !n.f.rate.wait(n.r, len(piece)) {
			return 0, io.ErrClosedPipe
		}
		sent, err := n.w.Write(piece)
		n.f.counters.sent(n.name, int64(sent))
		n.sent += int64(sent)
		if err != nil {
			return 0, err
		}
		if drop := n.injected.Drop; drop != nil && n.sent >= *drop {
			if flusher, ok := n.w.(http.Flusher); ok {
				flusher.Flush()
			}
			return 0, io.ErrUnexpectedEOF
		}
		b = b[sent:]
	}
	return whole, nil
}

const (
	grainSectors    = 128
	grainBytes      = grainSectors * sector
	tableEntries    = 512
	overheadSectors = 128

	endOfStream = 0
	grainTable  = 1
	grainDir    = 2
	footer      = 3
)

// streamHeader is the sparse header; directory is where the grain directory is, all ones: see the footer.
func streamHeader(sectors, directory uint64) []byte {
	h := make([]byte, sector)
	le := binary.LittleEndian
	copy(h, "KDMV")
	le.PutUint32(h[4:], 3)
	le.PutUint32(h[8:], 1|1<<16|1<<17)
	le.PutUint64(h[12:], sectors)
	le.PutUint64(h[20:], grainSectors)
	le.PutUint64(h[28:], 1)
	le.PutUint64(h[36:], 20)
	le.PutUint32(h[44:], tableEntries)
	le.PutUint64(h[56:], directory)
	le.PutUint64(h[64:], overheadSectors)
	copy(h[73:], "\n \r\n")
	le.PutUint16(h[77:], 1)
	return h
}

func marker(sectors uint64, kind uint32) []byte {
	m := make([]byte, sector)
	binary.LittleEndian.PutUint64(m, sectors)
	binary.LittleEndian.PutUint32(m[12:], kind)
	return m
}

// writeStream encodes the disk: grains that hold data, each table of grains behind its grains, directory, footer, end.
func writeStream(out io.Writer, in io.ReaderAt, size int64) error {
	sectors := uint64(size / sector)
	head := append(streamHeader(sectors, ^uint64(0)), make([]byte, (overheadSectors-1)*sector)...)
	copy(head[sector:], fmt.Sprintf("# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"+
		"createType=\"streamOptimized\"\n\nRDONLY %d SPARSE \"call-me-stream.vmdk\"\n\nddb.adapterType = \"lsilogic\"\n", sectors))
	if _, err := out.Write(head); err != nil {
		return err
	}
	at := uint64(overheadSectors)
	put := func(b []byte) error {
		if short := len(b) % sector; short != 0 {
			b = append(b, make([]byte, sector-short)...)
		}
		at += uint64(len(b) / sector)
		_, err := out.Write(b)
		return err
	}
	le := binary.LittleEndian
	var directory []byte
	table := make([]byte, tableEntries*4)
	used := false
	zero, grain := make([]byte, grainBytes), make([]byte, grainBytes)
	grains := (size + grainBytes - 1) / grainBytes
	for g := int64(0); g < grains; g++ {
		n, err := in.ReadAt(grain, g*grainBytes)
		if err != nil && err != io.EOF {
			return err
		}
		copy(grain[n:], zero)
		if !bytes.Equal(grain, zero) {
			var packed bytes.Buffer
			packed.Write(make([]byte, 12))
			z, _ := zlib.NewWriterLevel(&packed, zlib.BestSpeed) // the level is valid
			if _, err = z.Write(grain); err == nil {
				err = z.Close()
			}
			if err != nil {
				return err
			}
			b := packed.Bytes()
			le.PutUint64(b, uint64(g)*grainSectors)
			le.PutUint32(b[8:], uint32(len(b)-12))
			le.PutUint32(table[g%tableEntries*4:], uint32(at))
			used = true
			if err := put(b); err != nil {
				return err
			}
		}
		if g%tableEntries == tableEntries-1 || g == grains-1 {
			entry := make([]byte, 4)
			if used {
				if err := put(marker(uint64(len(table)/sector), grainTable)); err != nil {
					return err
				}
				le.PutUint32(entry, uint32(at))
				if err := put(table); err != nil {
					return err
				}
			}
			directory = append(directory, entry...)
			table, used = make([]byte, tableEntries*4), false
		}
	}
	if err := put(marker(uint64((len(directory)+sector-1)/sector), grainDir)); err != nil {
		return err
	}
	where := at
	for _, b := range [][]byte{directory, marker(1, footer), streamHeader(sectors, where), marker(0, endOfStream)} {
		if err := put(b); err != nil {
			return err
		}
	}
	return nil
}
