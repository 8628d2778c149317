package edge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	proxyproto "github.com/pires/go-proxyproto"

	"lacre/edge"
)

// told is an upstream that another implementation of the PROXY protocol stands before. It
// answers with the client and the server that it was told of.
type told struct {
	*httptest.Server
	opened, open atomic.Int64
}

func newTold(t *testing.T, w *world, scheme string) (*told, string) {
	t.Helper()
	b := &told{}
	b.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			c, err := websocket.Accept(rw, r, nil)
			if err == nil {
				c.Write(r.Context(), websocket.MessageText, []byte(r.RemoteAddr))
				c.Read(r.Context())
			}
			return
		}
		io.WriteString(rw, r.RemoteAddr+" "+r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()+" "+r.Proto)
	}))
	b.Listener = &proxyproto.Listener{Listener: b.Listener, ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
		return proxyproto.REQUIRE, nil
	}}
	b.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			b.opened.Add(1)
			b.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			b.open.Add(-1)
		}
	}
	b.Config.Protocols = new(http.Protocols)
	b.Config.Protocols.SetHTTP1(true)
	b.Config.Protocols.SetUnencryptedHTTP2(true)
	if scheme == "https" {
		b.TLS = &tls.Config{Certificates: []tls.Certificate{w.leaf([]string{"127.0.0.1"}).TLS()}}
		b.StartTLS()
	} else {
		b.Start()
	}
	t.Cleanup(b.Close)
	return b, scheme + "+proxyv2://" + b.Listener.Addr().String()
}

// askTold makes a request and returns the three things the upstream was told.
func askTold(t *testing.T, client *http.Client) (from, to, proto string) {
	t.Helper()
	resp, err := client.Get("https://a.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	words := strings.Fields(string(body))
	if resp.StatusCode != 200 || len(words) != 3 {
		t.Fatalf("got %d %q, want 200 and three words", resp.StatusCode, body)
	}
	return words[0], words[1], words[2]
}

// TestProxyProtocolOut: an upstream that wants it learns for whom each connection is.
// Requests of one client share connections, those of two never do.
func TestProxyProtocolOut(t *testing.T) {
	for scheme, wantProto := range map[string]string{"http": "HTTP/1.1", "https": "HTTP/1.1", "h2c": "HTTP/2.0"} {
		t.Run(scheme, func(t *testing.T) {
			w := newWorld(t)
			b, url := newTold(t, w, scheme)
			w.site("a.example.com", upstream(url))
			seen := map[string]bool{}
			for range 3 {
				client, mine := w.watched()
				for range 5 {
					from, to, proto := askTold(t, client)
					if from != mine() || to != w.addr || proto != wantProto {
						t.Errorf("the upstream was told of %s to %s over %s, want %s to %s over %s", from, to, proto, mine(), w.addr, wantProto)
					}
					seen[from] = true
				}
			}
			if got := b.opened.Load(); len(seen) != 3 || got != 3 {
				t.Errorf("got %d connections for %d clients, want 3 for 3", got, len(seen))
			}
		})
	}
}

// watched returns a client and what tells the address of the one connection it made.
func (w *world) watched() (*http.Client, func() string) {
	client := w.client(true)
	transport := client.Transport.(*http.Transport)
	dial := transport.DialContext
	var mu sync.Mutex
	var local string
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			local = c.LocalAddr().String()
		}
		return c, err
	}
	return client, func() string {
		mu.Lock()
		defer mu.Unlock()
		return local
	}
}

// TestProxyProtocolOutAtOnce: many requests of two clients at the same time do not mix.
func TestProxyProtocolOutAtOnce(t *testing.T) {
	w := newWorld(t)
	_, url := newTold(t, w, "http")
	w.site("a.example.com", upstream(url))
	var all sync.WaitGroup
	for range 2 {
		client, mine := w.watched()
		askTold(t, client)
		for range 10 {
			all.Go(func() {
				for range 20 {
					if from, _, _ := askTold(t, client); from != mine() {
						t.Errorf("the upstream was told of %s, want %s", from, mine())
					}
				}
			})
		}
	}
	all.Wait()
}

// TestProxyProtocolOutEnds: the upstream's connection ends with the client's.
func TestProxyProtocolOutEnds(t *testing.T) {
	w := newWorld(t)
	b, url := newTold(t, w, "h2c")
	w.site("a.example.com", upstream(url))
	client := w.client(true)
	askTold(t, client)
	if got := b.open.Load(); got != 1 {
		t.Fatalf("got %d connections at the upstream, want 1", got)
	}
	client.CloseIdleConnections()
	eventually(t, "the upstream's connection to end", func() bool { return b.open.Load() == 0 })
}

// TestProxyProtocolThrough: a client that a proxy named is named to the upstream, also
// over IPv6, and also for a WebSocket.
func TestProxyProtocolThrough(t *testing.T) {
	w := newWorld(t, behind)
	_, url := newTold(t, w, "http")
	w.site("a.example.com", upstream(url))
	for _, client := range []string{"203.0.113.7:4711", "[2001:db8::7]:4711"} {
		server := map[bool]string{true: "192.0.2.1:443", false: "[2001:db8::1]:443"}[strings.HasPrefix(client, "2")]
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", w.plain)
			if err == nil {
				_, err = c.Write(introduction(t, 2, client, server))
			}
			return c, err
		}
		c := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 15 * time.Second}
		resp, err := c.Get("http://a.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := client + " " + server + " HTTP/1.1"; string(body) != want {
			t.Errorf("got %q, want %q", body, want)
		}
		ws, _, err := websocket.Dial(t.Context(), "ws://a.example.com/", &websocket.DialOptions{HTTPClient: c})
		if err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.Read(t.Context()); string(got) != client {
			t.Errorf("the WebSocket's upstream was told of %q, %v, want %q", got, err, client)
		}
		ws.CloseNow()
	}
}

// TestProxyProtocolOutToWhatMayNotBeReached: the guard of upstreams' addresses stays.
func TestProxyProtocolOutToWhatMayNotBeReached(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.AllowLoopback = false })
	b, url := newTold(t, w, "http")
	w.site("a.example.com", upstream(url))
	if status, err := request(t, w.client(true), "https://a.example.com/"); status != 502 || b.opened.Load() != 0 {
		t.Errorf("got %d, %v and %d connections, want 502 and none", status, err, b.opened.Load())
	}
}

// TestOwnConnectionsOfProjects: over plain HTTP one connection may ask for hosts of two
// projects, of whom neither has the other's connections to an upstream.
func TestOwnConnectionsOfProjects(t *testing.T) {
	w := newWorld(t, proxying)
	b, address := newTold(t, w, "http")
	w.site("a.example.com", upstream(address))
	w.tenant()
	w.site("b.example.com", upstream(address))
	c, err := net.Dial("tcp", w.plain)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for _, host := range []string{"a", "a", "b", "b", "a"} {
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s.example.com\r\n\r\n", host)
		resp, err := http.ReadResponse(answers, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: got %v, %v, want 200", host, resp, err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	if got := b.opened.Load(); got != 3 {
		t.Errorf("got %d connections to the upstream, want one for each change of the project", got)
	}
	eventually(t, "those of before are closed", func() bool { return b.open.Load() == 1 })
}
