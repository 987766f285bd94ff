package main

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// injection is one fault a test asked for (POST /fault). It is for SOAP calls of `method`, or for datastore reads when
// `folder` is set.
type injection struct {
	Method  string `json:"method"`
	Fault   string `json:"fault"`   // type of the SOAP fault
	Message string `json:"message"` // its faultstring
	Detail  string `json:"detail"`  // XML inside the fault
	Status  int    `json:"status"`  // HTTP status with an HTML body

	Folder      bool   `json:"folder"`
	Path        string `json:"path"`         // only files whose path contains this
	Drop        *int64 `json:"drop_after"`   // close the connection after so many bytes of body
	Stall       bool   `json:"stall"`        // send half of the body, then nothing until the client leaves
	Short       bool   `json:"short"`        // a well-formed answer with half of the bytes
	WrongRange  bool   `json:"wrong_range"`  // another range than asked for, and Content-Range says so
	IgnoreRange bool   `json:"ignore_range"` // 200 and the whole file
	Corrupt     bool   `json:"corrupt"`      // the first byte of the answer is flipped

	LateMS  int64 `json:"late_ms"`  // SOAP: all is done as asked, and the answer comes so much later
	Times   int   `json:"times"`    // how often; 0: until cleared
	Skip    int   `json:"skip"`     // let so many matching requests pass first
	DelayMS int64 `json:"delay_ms"` // wait before acting; alone: only wait
}

// onlyDelay says that the request goes its normal way after the pause.
func (i *injection) onlyDelay() bool {
	return i.Fault == "" && i.Status == 0 && i.Drop == nil && !i.Stall && !i.Short && !i.WrongRange && !i.IgnoreRange && !i.Corrupt
}

// pause waits as asked; false when the client left meanwhile.
func (i *injection) pause(r *http.Request) bool {
	if i.DelayMS <= 0 {
		return true
	}
	select {
	case <-time.After(time.Duration(i.DelayMS) * time.Millisecond):
		return true
	case <-r.Context().Done():
		return false
	}
}

type injector struct {
	mu   sync.Mutex
	list []*injection
}

func (j *injector) add(i injection) {
	j.mu.Lock()
	j.list = append(j.list, &i)
	j.mu.Unlock()
}

func (j *injector) clear() {
	j.mu.Lock()
	j.list = nil
	j.mu.Unlock()
}

// take uses up the first injection that matches.
func (j *injector) take(matches func(*injection) bool) *injection {
	j.mu.Lock()
	defer j.mu.Unlock()
	for n, i := range j.list {
		if !matches(i) {
			continue
		}
		if i.Skip > 0 {
			i.Skip--
			continue
		}
		if i.Times > 0 {
			if i.Times--; i.Times == 0 {
				j.list = append(j.list[:n:n], j.list[n+1:]...)
			}
		}
		used := *i
		return &used
	}
	return nil
}

func (j *injector) takeFolder(file string) *injection {
	return j.take(func(i *injection) bool { return i.Folder && strings.Contains(file, i.Path) })
}

// limiter spaces the bytes of all datastore reads together.
type limiter struct {
	mu   sync.Mutex
	rate int64 // bytes per second, 0: none
	next time.Time
}

func (l *limiter) set(rate int64) {
	l.mu.Lock()
	l.rate, l.next = rate, time.Time{}
	l.mu.Unlock()
}

// chunk is how much to send at a time so that a slow rate is even.
func (l *limiter) chunk(most int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate > 0 && int64(most) > l.rate/20 {
		if most = int(l.rate / 20); most < 512 {
			most = 512
		}
	}
	return most
}

// wait blocks until n more bytes may go; false when the client left.
func (l *limiter) wait(r *http.Request, n int) bool {
	l.mu.Lock()
	if l.rate <= 0 {
		l.mu.Unlock()
		return true
	}
	now := time.Now()
	if l.next.Before(now) {
		l.next = now
	}
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	until := l.next.Sub(now)
	l.mu.Unlock()
	select {
	case <-time.After(until):
		return true
	case <-r.Context().Done():
		return false
	}
}
