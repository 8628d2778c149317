package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestTooManyFields: many small fields cost an upstream more than their bytes.
func TestTooManyFields(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int64
	b := backend(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	w.site("a.example.com", upstream(b.URL))
	eachHTTP(t, func(t *testing.T, http2 bool) {
		for n, want := range map[int]int{200: 200, 300: 431} {
			asked.Store(0)
			r, _ := http.NewRequest("GET", "https://a.example.com/", nil)
			for i := range n {
				r.Header[fmt.Sprintf("X-%d", i/2)] = append(r.Header[fmt.Sprintf("X-%d", i/2)], "a")
			}
			resp, err := w.client(http2).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want || (asked.Load() == 1) != (want == 200) {
				t.Errorf("%d fields: got %d and %d requests at the upstream, want %d", n, resp.StatusCode, asked.Load(), want)
			}
		}
	})
}

// TestManyFieldsInFewBytes: an index of one byte stands for a field of any size.
func TestManyFieldsInFewBytes(t *testing.T) {
	w := newWorld(t)
	b := backend(t, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was asked") })
	w.site("a.example.com", upstream(b.URL))
	fields := []string{":method", "GET", ":scheme", "https", ":authority", "a.example.com", ":path", "/"}
	for range 1000 {
		fields = append(fields, "x-bomb", strings.Repeat("x", 3000))
	}
	if block := encode(fields); len(block) > 16<<10 {
		t.Fatalf("the block has %d bytes, want it compressed", len(block))
	}
	if got := w.headers(t, fields, ""); got == "200" {
		t.Error("a header of 3 MB was accepted")
	}
}

// TestContinuationFlood: a header that never ends is cut off by its size, and one that
// never grows by the time it may take (it is no stream yet, so the connection is idle).
func TestContinuationFlood(t *testing.T) {
	for name, fragment := range map[string][]byte{
		"fields": encode([]string{"x", strings.Repeat("x", 8000)}), "nothing": {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, impatient)
			w.site("a.example.com")
			f := w.framer(t)
			open := encode([]string{":method", "GET", ":scheme", "https", ":authority", "a.example.com", ":path", "/"})
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: open, EndStream: true})
			ended := make(chan string, 1)
			go func() { ended <- ending(f, 1) }()
			begin := time.Now()
			sent := 0
			for ; len(ended) == 0; sent += len(fragment) {
				if f.WriteContinuation(1, false, fragment) != nil {
					break
				}
			}
			if took := time.Since(begin); took > 10*time.Second || sent > 20<<20 {
				t.Errorf("%d bytes of one header were taken in %v", sent, took)
			}
		})
	}
}

// TestRapidReset: streams that are opened and reset at once (CVE-2023-44487) neither pile
// up at the upstream nor keep the edge from serving others.
func TestRapidReset(t *testing.T) {
	w := newWorld(t)
	var now, peak atomic.Int64
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/reset" {
			return
		}
		for n := now.Add(1); ; {
			if most := peak.Load(); n <= most || peak.CompareAndSwap(most, n) {
				break
			}
		}
		<-r.Context().Done()
		now.Add(-1)
	})
	w.site("a.example.com", upstream(b.URL))
	f := w.framer(t)
	go ending(f, 0) // takes what comes, so that only the flood itself can stop
	block := encode([]string{":method", "GET", ":scheme", "https", ":authority", "a.example.com", ":path", "/reset"})
	for i := range uint32(5000) {
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndHeaders: true, EndStream: true})
		if err != nil || f.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
			break // the edge ended the connection
		}
	}
	begin := time.Now()
	if status, err := request(t, w.client(true), "https://a.example.com/"); status != 200 {
		t.Errorf("another client: got %d, %v, want 200", status, err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("another client waited %v", took)
	}
	eventually(t, "no request to be left at the upstream", func() bool { return now.Load() == 0 })
	if got := peak.Load(); got > 500 {
		t.Errorf("got %d requests at the upstream at once, want at most what one connection may have under way", got)
	}
}
