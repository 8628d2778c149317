package edge_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lacre/edge"
)

// TestUpstreamConnectionsAreCapped: one client connection asks for more connections to an
// upstream than there may be. Those of other projects find some free all the same, and they
// are given back when it goes.
func TestUpstreamConnectionsAreCapped(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.MaxConns = 10 })
	var reached atomic.Int64
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			reached.Add(1)
			<-r.Context().Done()
		}
	})
	w.site("a.example.com", upstream(b.URL))
	w.tenant()
	w.site("other.example.com", upstream(backend(t, func(http.ResponseWriter, *http.Request) {}).URL))
	client := w.client(true)
	if status, err := request(t, client, "https://a.example.com/"); status != 200 { // one connection from here on
		t.Fatalf("got %d, %v, want 200", status, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var refused atomic.Int64
	var waiting sync.WaitGroup
	for range 30 {
		waiting.Go(func() {
			r, _ := http.NewRequestWithContext(ctx, "GET", "https://a.example.com/slow", nil)
			resp, err := client.Do(r)
			if err != nil {
				return // called off below
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusBadGateway {
				refused.Add(1)
			}
		})
	}
	eventually(t, "5 of 30 requests to be under way and the others refused", func() bool {
		return reached.Load() == 5 && refused.Load() == 25
	})
	if status, err := request(t, client, "https://other.example.com/"); status != 200 {
		t.Errorf("another project: got %d, %v, want 200", status, err)
	}
	cancel()
	waiting.Wait()
	eventually(t, "a place for another request", func() bool {
		status, _ := request(t, client, "https://a.example.com/")
		return status == 200
	})
}

// TestPretendedGRPC: who says gRPC where it cannot be spoken is held to the limits of all
// others, and so does not keep connections to upstreams for ever.
func TestPretendedGRPC(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) {
		c.Timeouts.Response, c.Timeouts.Stall = 300*time.Millisecond, 300*time.Millisecond
	})
	silent := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	secure := func(http2 bool, protocols ...string) string {
		s := httptest.NewUnstartedServer(silent)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{w.leaf([]string{"127.0.0.1"}).TLS()}, NextProtos: protocols}
		s.EnableHTTP2 = http2
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	w.site("http.example.com", upstream(backend(t, silent).URL))
	w.site("https.example.com", upstream(secure(true)))
	w.site("https1.example.com", upstream(secure(false)))
	w.site("noalpn.example.com", upstream("https://"+silentTLS(t, w)))
	stuck, _ := io.Pipe()
	for _, test := range []struct {
		name, host, kind string
		http2            bool
		body             io.Reader
		want             int
	}{
		{"to HTTP/1.1", "http.example.com", "application/grpc", true, nil, 504},
		{"over HTTP/1.1", "https.example.com", "application/grpc", false, nil, 504},
		{"a body to HTTP/1.1", "http.example.com", "application/grpc", true, io.MultiReader(strings.NewReader("some"), stuck), 408},
		{"to HTTP/1.1 over TLS", "https1.example.com", "application/grpc", true, nil, 502},
		{"to a server without ALPN", "noalpn.example.com", "application/grpc+proto", true, nil, 502},
		{"gRPC-Web", "https.example.com", "application/grpc-web+proto", true, nil, 504},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, _ := http.NewRequest("POST", "https://"+test.host+"/", test.body)
			r.Header.Set("Content-Type", test.kind)
			resp, err := w.client(test.http2).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != test.want {
				t.Errorf("got %d, want %d", resp.StatusCode, test.want)
			}
		})
	}
}

// silentTLS is a server that answers nothing once a handshake is done.
func silentTLS(t *testing.T, w *world) string {
	l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{w.leaf([]string{"127.0.0.1"}).TLS()}})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go io.Copy(io.Discard, c)
		}
	}()
	return l.Addr().String()
}

// TestPlacesOfOthers: who holds requests open on an upstream that is another project's too
// does so with connections, and places, of its own.
func TestPlacesOfOthers(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.MaxConns = 20 })
	var held atomic.Int64
	b := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			held.Add(1)
			<-r.Context().Done()
		}
	})
	w.site("a.example.com", upstream(b.URL))
	w.tenant()
	w.site("thief.example.com", upstream(b.URL))
	client := w.client(true)
	client.Timeout = 0
	ctx, cancel := context.WithCancel(t.Context())
	var holding sync.WaitGroup
	for range 15 {
		if status, err := request(t, client, "https://a.example.com/"); status != 200 {
			t.Fatalf("with %d requests of another project: got %d, %v, want 200", held.Load(), status, err)
		}
		r, _ := http.NewRequestWithContext(ctx, "GET", "https://thief.example.com/held", nil)
		refused, before := make(chan struct{}), held.Load()
		holding.Go(func() {
			if resp, err := client.Do(r); err == nil {
				resp.Body.Close()
				close(refused)
			}
		})
		eventually(t, "it is held or refused", func() bool {
			select {
			case <-refused:
				return true
			default:
				return held.Load() > before
			}
		})
	}
	if got := held.Load(); got != 10 {
		t.Errorf("got %d requests held, want what is free when there are as many", got)
	}
	cancel()
	holding.Wait()
}
