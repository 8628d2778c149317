package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// fickle is an upstream that answers the first request of each connection and then does
// what it is told with the second: close without reading, or read it and close.
type fickle struct {
	net.Listener
	reads    atomic.Bool // the second request is read before the close
	answered chan net.Conn
	requests atomic.Int64
	lines    chan string // second requests that were read
}

func newFickle(t *testing.T) *fickle {
	f := &fickle{Listener: listen(t), answered: make(chan net.Conn, 100), lines: make(chan string, 100)}
	t.Cleanup(func() { f.Close() })
	go func() {
		for {
			c, err := f.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return f
}

func (f *fickle) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	io.Copy(io.Discard, r.Body)
	f.requests.Add(1)
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	if !f.reads.Load() {
		f.answered <- c
		return
	}
	if r, err = http.ReadRequest(in); err != nil {
		return
	}
	io.Copy(io.Discard, r.Body)
	f.requests.Add(1)
	f.lines <- r.Method
}

// TestRequestsAreRepeatedOnlyWhereThatIsSafe: a pooled connection may turn out to be dead
// only when it is used. What is idempotent is then sent again, over another one; anything
// else at most once, for its first sending may have had its effect (RFC 9110, 9.2.2).
func TestRequestsAreRepeatedOnlyWhereThatIsSafe(t *testing.T) {
	for _, test := range []struct {
		method, body, key string
		status            int
		sent              int // how often the upstream got it
	}{
		{"GET", "", "", 200, 2},
		{"HEAD", "", "", 200, 2},
		{"OPTIONS", "", "", 200, 2},
		{"POST", "x", "", 502, 1},
		{"POST", "", "", 502, 1},
		{"POST", "", "k", 200, 2}, // the client says that it is idempotent
		{"POST", "x", "k", 502, 1},
		{"PUT", "x", "", 502, 1}, // its body is gone
		{"PATCH", "x", "", 502, 1},
		{"DELETE", "", "", 502, 1},
		{"GET", "x", "", 502, 1},
	} {
		t.Run(fmt.Sprintf("%s %q %q", test.method, test.body, test.key), func(t *testing.T) {
			w := newWorld(t)
			f := newFickle(t)
			f.reads.Store(true)
			w.site("a.example.com", upstream("http://"+f.Addr().String()))
			client := w.client(true)
			if status, err := request(t, client, "https://a.example.com/"); status != 200 {
				t.Fatalf("the first request: got %d, %v, want 200", status, err)
			}
			r, _ := http.NewRequest(test.method, "https://a.example.com/", strings.NewReader(test.body))
			if test.key != "" {
				r.Header.Set("Idempotency-Key", test.key)
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := int(f.requests.Load()) - 1; resp.StatusCode != test.status || got != test.sent {
				t.Errorf("got %d after %d sendings, want %d after %d", resp.StatusCode, got, test.status, test.sent)
			}
			if got := <-f.lines; got != test.method {
				t.Errorf("the pooled connection got %s, want %s: the test tests nothing", got, test.method)
			}
		})
	}
}

// TestStaleConnections: an upstream that closes its idle connections is asked again over a
// new one, whether the edge has noticed yet or not.
func TestStaleConnections(t *testing.T) {
	w := newWorld(t)
	f := newFickle(t)
	w.site("a.example.com", upstream("http://"+f.Addr().String()))
	client := w.client(true)
	for i := range 50 {
		if status, err := request(t, client, "https://a.example.com/"); status != 200 {
			t.Fatalf("request %d: got %d, %v, want 200", i, status, err)
		}
		(<-f.answered).Close()
	}
	if got := f.requests.Load(); got != 50 {
		t.Errorf("the upstream got %d requests, want 50", got)
	}
}

// counted starts an upstream that counts the connections to it.
func counted(t *testing.T, opened *atomic.Int64, handler http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(handler)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// TestConnectionsAreReused by requests of any client, so that an upstream sees few.
func TestConnectionsAreReused(t *testing.T) {
	w := newWorld(t)
	var opened atomic.Int64
	b := counted(t, &opened, func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) })
	w.site("a.example.com", upstream(b.URL))
	w.site("b.example.com", upstream(b.URL))
	for range 5 {
		for _, host := range []string{"a", "b"} {
			resp, err := w.client(true).Post("https://"+host+".example.com/", "text/plain", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	if got := opened.Load(); got > 3 { // one, if none was late in coming back
		t.Errorf("10 requests in a row took %d connections to the upstream, want them to share", got)
	}
}

// TestIdleConnectionsAreKept for as many requests as come at once again and again: a new
// connection for each request over some small number costs more than the request.
func TestIdleConnectionsAreKept(t *testing.T) {
	w := newWorld(t)
	const atOnce = 100
	var opened, under atomic.Int64
	proceed := make(chan struct{})
	b := counted(t, &opened, func(_ http.ResponseWriter, r *http.Request) {
		under.Add(1)
		select {
		case <-proceed:
		case <-r.Context().Done():
		}
	})
	w.site("a.example.com", upstream(b.URL))
	client := w.client(true)
	for range 3 {
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				if status, err := request(t, client, "https://a.example.com/"); status != 200 {
					t.Errorf("got %d, %v, want 200", status, err)
				}
			})
		}
		eventually(t, "all of them to be under way", func() bool { return under.Load() == atOnce })
		under.Store(0)
		for range atOnce {
			proceed <- struct{}{}
		}
		all.Wait()
	}
	if got := opened.Load(); got > atOnce+atOnce/4 {
		t.Errorf("%d requests at once, three times: got %d connections, want each to be used again", atOnce, got)
	}
}
