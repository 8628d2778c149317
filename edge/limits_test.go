package edge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"lacre/edge"
)

// impatient makes every limit short.
func impatient(c *edge.Config) {
	const short = 300 * time.Millisecond
	c.Timeouts = edge.Timeouts{Handshake: short, Header: short, Idle: short, Stall: short}
}

// closesWithin tells whether the peer closes c within a generous multiple of the limits.
func closesWithin(t *testing.T, c net.Conn) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := io.ReadAll(c)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Fatalf("still open after 10 s; got %q", answer)
	}
	return string(answer)
}

func TestSlowHandshakeIsCutOff(t *testing.T) {
	w := newWorld(t, impatient)
	w.site("a.example.com")
	for _, sent := range []string{"", "\x16", "\x16\x03\x01\x02\x00\x01"} {
		c, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, sent)
		closesWithin(t, c)
		c.Close()
	}
}

func TestSlowRequestsAreCutOff(t *testing.T) {
	w := newWorld(t, impatient)
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	w.site("a.example.com", upstream(b.URL))
	w.site("page.example.com")
	const post = "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n\r\nabc"
	for _, test := range []struct{ name, sent, want string }{
		{"nothing", "", ""},
		{"half a header", "GET / HTTP/1.1\r\nHost: a.exam", ""},
		{"idle after a request", "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n", "HTTP/1.1 200"},
		{"half a body", fmt.Sprintf(post, "a.example.com"), "HTTP/1.1 408"},
		{"half a body of a pretended gRPC client", strings.Replace(fmt.Sprintf(post, "a.example.com"),
			"\r\n", "\r\nContent-Type: application/grpc\r\n", 1), "HTTP/1.1 408"},
		{"half a body that nobody reads", fmt.Sprintf(post, "page.example.com"), "HTTP/1.1 "},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := "a.example.com"
			if strings.Contains(test.sent, "page.") {
				name = "page.example.com"
			}
			c := w.connect(name)
			io.WriteString(c, test.sent)
			if got := closesWithin(t, c); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q, want %q…", got, test.want)
			}
		})
	}
}

func TestSlowPlainRequestsAreCutOff(t *testing.T) {
	w := newWorld(t, impatient)
	for _, sent := range []string{"", "GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na"} {
		c, err := net.Dial("tcp", w.plain)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, sent)
		closesWithin(t, c)
		c.Close()
	}
}

// TestSlowHTTP2Body: one stream that stops ends, its connection goes on.
func TestSlowHTTP2Body(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.Timeouts.Stall = 300 * time.Millisecond })
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	w.site("a.example.com", upstream(b.URL))
	client := w.client(true)
	body, stuck := io.Pipe()
	defer stuck.Close()
	go io.WriteString(stuck, "abc")
	resp, err := client.Post("https://a.example.com/", "text/plain", body)
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("got %d, want 408", resp.StatusCode)
		}
	}
	if status, err := request(t, client, "https://a.example.com/"); status != 200 {
		t.Errorf("the next request: got %d, %v, want 200", status, err)
	}
}

// TestResponseNobodyTakes: a client that stops reading loses its response, and the
// upstream its burden.
func TestResponseNobodyTakes(t *testing.T) {
	eachHTTP(t, func(t *testing.T, http2 bool) {
		w := newWorld(t, func(c *edge.Config) { c.Timeouts.Stall = 300 * time.Millisecond })
		ended := make(chan struct{})
		b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
			defer close(ended)
			io.Copy(rw, zeros(1<<40))
		})
		w.site("a.example.com", upstream(b.URL))
		client := w.client(http2)
		client.Timeout = 0
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, "GET", "https://a.example.com/", nil)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			t.Error("the upstream still sends to a client that reads nothing")
		}
	})
}

// TestUpgradedConnectionNobodyReads: after an upgrade the connection itself is what
// ends a peer that takes nothing.
func TestUpgradedConnectionNobodyReads(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.Timeouts.Stall = 300 * time.Millisecond })
	ended := make(chan struct{})
	b := backend(t, func(rw http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		c, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(c, zeros(1<<40))
	})
	w.site("a.example.com", upstream(b.URL))
	c := w.connect("a.example.com")
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	select {
	case <-ended:
	case <-time.After(15 * time.Second):
		t.Error("the upstream still sends to a client that reads nothing")
	}
}

// TestSilenceIsNotAStall: between two pieces of a response, and after a request, a
// stream may be silent for longer than the stall timeout.
func TestSilenceIsNotAStall(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.Timeouts.Stall = 200 * time.Millisecond })
	b := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for range 3 {
			io.WriteString(rw, "piece ")
			rw.(http.Flusher).Flush()
			time.Sleep(500 * time.Millisecond)
		}
	})
	w.site("a.example.com", upstream(b.URL))
	eachHTTP(t, func(t *testing.T, http2 bool) {
		resp, err := w.client(http2).Post("https://a.example.com/", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); string(got) != "piece piece piece " {
			t.Errorf("got %q, %v, want three pieces", got, err)
		}
	})
}

func TestOversizedHeader(t *testing.T) {
	w := newWorld(t)
	w.site("a.example.com")
	for _, size := range []int{16 << 10, 80 << 10, 1 << 20} {
		c := w.connect("a.example.com")
		go fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a.example.com\r\nX: %s\r\n\r\n", strings.Repeat("x", size))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		want := 200
		if size > 64<<10 {
			want = http.StatusRequestHeaderFieldsTooLarge
		}
		if resp.StatusCode != want {
			t.Errorf("a header of %d bytes: got %d, want %d", size, resp.StatusCode, want)
		}
	}
}

func TestConnectionsAreCapped(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.MaxConns = 2 })
	w.site("a.example.com")
	first, second := w.connect("a.example.com"), w.connect("a.example.com")
	if _, err := w.dial("a.example.com"); err == nil {
		t.Error("a third connection was served, want it closed")
	}
	if got := w.edge.Status().Connections; got != 2 {
		t.Errorf("got %d open connections, want 2", got)
	}
	second.Close()
	eventually(t, "a place for another connection", func() bool {
		c, err := w.dial("a.example.com")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	io.WriteString(first, "GET / HTTP/1.0\r\nHost: a.example.com\r\n\r\n")
	if got := closesWithin(t, first); !strings.HasPrefix(got, "HTTP/1.0 200") {
		t.Errorf("the first connection: got %q, want 200", got)
	}
}

// TestHTTP2StreamLimit looks at the settings the server announces.
func TestHTTP2StreamLimit(t *testing.T) {
	w := newWorld(t)
	w.site("a.example.com")
	c := w.connect("a.example.com", func(c *tls.Config) { c.NextProtos = []string{"h2"} })
	io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	head := make([]byte, 9)
	if _, err := io.ReadFull(c, head); err != nil || head[3] != 4 {
		t.Fatalf("got frame %x, %v, want SETTINGS", head, err)
	}
	payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(c, payload); err != nil {
		t.Fatal(err)
	}
	for ; len(payload) >= 6; payload = payload[6:] {
		if payload[0] == 0 && payload[1] == 3 { // SETTINGS_MAX_CONCURRENT_STREAMS
			if got := int(payload[4])<<8 | int(payload[5]); got != 250 {
				t.Errorf("got %d concurrent streams, want 250", got)
			}
			return
		}
	}
	t.Error("no limit on concurrent streams was announced")
}
