package edge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"lacre"
	"lacre/edge"
)

// logged waits for n lines and returns them without what differs in each run.
func logged(t *testing.T, text func() string, n int) []map[string]any {
	t.Helper()
	eventually(t, fmt.Sprintf("%d lines in the access log", n), func() bool { return strings.Count(text(), "\n") >= n })
	var lines []map[string]any
	for text := range strings.Lines(text()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		at, err := time.Parse(time.RFC3339, line["time"].(string))
		if err != nil || time.Since(at) > time.Minute || !strings.HasSuffix(line["time"].(string), "Z") {
			t.Errorf("got time %v, want now in UTC", line["time"])
		}
		if line["duration_ms"].(float64) <= 0 && line["method"] != "" {
			t.Errorf("got duration %v, want some", line["duration_ms"])
		}
		if ms, ok := line["upstream_ms"]; ok && (ms.(float64) <= 0 || ms.(float64) > line["duration_ms"].(float64)) {
			t.Errorf("got upstream %v ms of %v, want some of it", ms, line["duration_ms"])
		}
		delete(line, "time")
		delete(line, "duration_ms")
		lines = append(lines, line)
	}
	return lines
}

// TestAccessLog has a line for every request of both listeners, with what is known of it.
func TestAccessLog(t *testing.T) {
	out := &syncBuffer{}
	w := newWorld(t, proxying, func(c *edge.Config) { c.AccessLog = out })
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "hello") })
	closed := listen(t)
	closed.Close()
	a, _ := w.site("a.example.com", upstream(b.URL))
	down, _ := w.site("down.example.com", upstream("http://"+closed.Addr().String()))
	moved, _ := w.site("moved.example.com", func(d *lacre.Domain) { d.RedirectHTTPS = true })
	ask := func(client *http.Client, method, url string, edits ...func(*http.Request)) {
		r, _ := http.NewRequest(method, url, nil)
		r.Header.Set("X-Request-Id", "id-"+method)
		for _, edit := range edits {
			edit(r)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	ask(w.client(true), "GET", "https://a.example.com/p%2Fq/%22?token=secret")
	ask(w.client(false, tls12), "DELETE", "https://a.example.com:8443/")
	ask(w.client(true), "PATCH", "https://a.example.com/", func(r *http.Request) { r.Host = "unknown.test" })
	ask(w.client(true), "OPTIONS", "https://down.example.com/")
	ask(w.clear(), "HEAD", "http://a.example.com/"+strings.Repeat("x", 3000))
	ask(w.clear(), "PUT", "http://moved.example.com/")
	got := map[any]map[string]any{}
	for _, line := range logged(t, out.String, 6) {
		got[line["method"]] = line
	}
	base := func(method, host, path string, status, bytes int) map[string]any {
		return map[string]any{"request_id": "id-" + method, "client": "127.0.0.1", "method": method, "host": host,
			"path": path, "status": float64(status), "bytes": float64(bytes)}
	}
	with := func(line map[string]any, fields ...any) map[string]any {
		for i := 0; i < len(fields); i += 2 {
			line[fields[i].(string)] = fields[i+1]
		}
		return line
	}
	of := func(d *lacre.Domain, line map[string]any) map[string]any {
		return with(line, "project", w.project, "domain", d.ID)
	}
	anything := cmp.FilterPath(func(p cmp.Path) bool { return strings.Contains(p.GoString(), "upstream_ms") }, cmp.Ignore())
	for _, want := range []map[string]any{
		of(a, with(base("GET", "a.example.com", "/p%2Fq/%22", 200, 5), "protocol", "HTTP/2.0", "tls", "1.3", "alpn", "h2", "upstream_ms", 0)),
		of(a, with(base("DELETE", "a.example.com:8443", "/", 200, 5), "protocol", "HTTP/1.1", "tls", "1.2", "upstream_ms", 0)),
		with(base("PATCH", "unknown.test", "/", 421, 53), "protocol", "HTTP/2.0", "tls", "1.3", "alpn", "h2"),
		of(down, with(base("OPTIONS", "down.example.com", "/", 502, 35), "protocol", "HTTP/2.0", "tls", "1.3", "alpn", "h2", "upstream_ms", 0)),
		of(a, with(base("HEAD", "a.example.com", "/"+strings.Repeat("x", 2047)+"…", 200, 0), "protocol", "HTTP/1.1", "upstream_ms", 0)),
		of(moved, with(base("PUT", "moved.example.com", "/", 308, 0), "protocol", "HTTP/1.1")),
	} {
		if diff := cmp.Diff(want, got[want["method"]], anything); diff != "" {
			t.Errorf("line of %s (-want +got):\n%s", want["method"], diff)
		}
	}
	if strings.Contains(out.String(), "secret") {
		t.Error("a query is in the access log")
	}
}

// TestAccessLogCannotBeForged: what a client sends cannot forge or break a line.
func TestAccessLogCannotBeForged(t *testing.T) {
	out := &syncBuffer{}
	w := newWorld(t, func(c *edge.Config) { c.AccessLog = out })
	w.site("a.example.com")
	c := w.connect("a.example.com")
	io.WriteString(c, "GET /%0a{\"status\":1}\"\\\xff\u2028 HTTP/1.1\r\nHost: a.example.com\r\nX-Request-Id: a\"b\r\nConnection: close\r\n\r\n")
	closesWithin(t, c)
	line := logged(t, out.String, 1)[0]
	if line["status"] != 200.0 || len(line["request_id"].(string)) != 32 || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("got %v, want one line with an id of its own", line)
	}
}

// blocked is a log that does not get anything done until it is let.
type blocked struct {
	free chan struct{}
	syncBuffer
}

func (b *blocked) Write(p []byte) (int, error) {
	<-b.free
	return b.syncBuffer.Write(p)
}

// TestAccessLogHoldsNobodyUp: requests are answered while nothing can be written; what is
// too much to keep is dropped and counted, and what was kept is written in the end.
func TestAccessLogHoldsNobodyUp(t *testing.T) {
	registry := prometheus.NewRegistry()
	out := &blocked{free: make(chan struct{})}
	w := newWorld(t, func(c *edge.Config) { c.AccessLog, c.Metrics = out, registry })
	w.site("a.example.com")
	client := w.client(true)
	const asked = 3000
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range asked / 10 {
				if status, err := request(t, client, "https://a.example.com/"+strings.Repeat("x", 2500)); status != 200 {
					t.Errorf("got %d, %v, want 200", status, err)
				}
			}
		})
	}
	all.Wait()
	eventually(t, "every request to be recorded", func() bool { return value(t, registry, "lacre_edge_requests_total", "2xx") == asked })
	close(out.free)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	client.CloseIdleConnections()
	if err := w.edge.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	dropped := value(t, registry, "lacre_edge_access_log_dropped_total")
	lines := bytes.Count([]byte(out.String()), []byte("\n"))
	if dropped < 1 || float64(lines)+dropped != asked {
		t.Errorf("got %d lines and %v dropped of %d, want some dropped and none lost in silence", lines, dropped, asked)
	}
}

// TestAccessLogIsRotated by moving the file away, as logrotate does, and nothing else.
func TestAccessLogIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	file, err := edge.OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := newWorld(t, func(c *edge.Config) { c.AccessLog = file })
	w.site("a.example.com")
	client := w.client(true)
	lines := func(path string) func() string {
		return func() string { b, _ := os.ReadFile(path); return string(b) }
	}
	for _, step := range []func(){
		func() {},
		func() { os.Rename(path, path+".1") },
		func() { os.Remove(path) },
		func() { os.Truncate(path, 0) },
	} {
		step()
		if status, err := request(t, client, "https://a.example.com/"); status != 200 {
			t.Fatalf("got %d, %v, want 200", status, err)
		}
		logged(t, lines(path), 1)
	}
	if got := strings.Count(lines(path+".1")(), "\n"); got != 1 {
		t.Errorf("got %d lines in the file that was moved away, want 1", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("got %v, %v, want a file that others cannot read", info.Mode(), err)
	}
	if _, err := edge.OpenLog(filepath.Join(path, "below")); err == nil {
		t.Error("opening a log below a file succeeded")
	}
}

// TestRequestID: an upstream is told what the request is called in the access log: as the
// client named it if that is a name, and otherwise anew.
func TestRequestID(t *testing.T) {
	out := &syncBuffer{}
	w := newWorld(t, func(c *edge.Config) { c.AccessLog = out })
	var got []string
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header["X-Request-Id"] })
	w.site("a.example.com", upstream(b.URL))
	client := w.client(true)
	seen := map[string]bool{}
	for _, test := range []struct {
		sent []string
		kept bool
	}{
		{nil, false},
		{[]string{"7b8e~x/y=z+:@,;"}, true},
		{[]string{strings.Repeat("x", 128)}, true},
		{[]string{strings.Repeat("x", 129)}, false},
		{[]string{""}, false},
		{[]string{"a b"}, false},
		{[]string{"a\"b"}, false},
		{[]string{"a<b"}, false},
		{[]string{"\xc3\xa4"}, false},
		{[]string{"a", "b"}, false},
	} {
		r, _ := http.NewRequest("GET", "https://a.example.com/", nil)
		r.Header["X-Request-Id"] = test.sent
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		switch {
		case len(got) != 1:
			t.Errorf("%q: the upstream got %q, want one id", test.sent, got)
		case test.kept && got[0] != test.sent[0]:
			t.Errorf("the upstream got %q, want %q as it was sent", got[0], test.sent[0])
		case !test.kept && len(got[0]) != 32:
			t.Errorf("%q: the upstream got %q, want an id made here", test.sent, got[0])
		}
		if seen[got[0]] {
			t.Errorf("%q was given twice", got[0])
		}
		seen[got[0]] = true
	}
	for _, line := range logged(t, out.String, 10) {
		delete(seen, line["request_id"].(string))
	}
	if len(seen) > 0 {
		t.Errorf("%v are not in the access log", seen)
	}
}
