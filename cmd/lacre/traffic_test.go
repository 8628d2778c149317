package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// pause keeps the traffic from taking all of a small machine.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(10+rand.IntN(20)) * time.Millisecond):
		return true
	}
}

// shakeHands makes handshakes all the time, whatever the writer is doing.
func (s *rotated) shakeHands(ctx context.Context, w *world, count *atomic.Int64) {
	for pause(ctx) {
		floor := s.floor.Load()
		leaf, err := w.served(s.host)
		if err != nil {
			w.t.Errorf("handshake for %s: %v", s.host, err)
			return
		}
		if got := leaf.SerialNumber.Int64(); got < floor || got > s.last.Load() {
			w.t.Errorf("handshake for %s: got leaf %d, want %d to %d", s.host, got, floor, s.last.Load())
			return
		}
		count.Add(1)
	}
}

// client speaks HTTP to the edge over connections that the edge must not end.
func (s *rotated) client(ctx context.Context, w *world, http2 bool) *http.Client {
	tr := &http.Transport{
		ForceAttemptHTTP2: http2,
		TLSClientConfig:   &tls.Config{ServerName: s.host, RootCAs: w.ca.Pool()},
		DialContext: func(dialling context.Context, _, _ string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(dialling, "tcp", w.at.EdgeAddr)
			return &watched{Conn: c, ended: func(err error) {
				if ctx.Err() == nil {
					w.t.Errorf("the edge dropped a connection to %s: %v", s.host, err)
				}
			}}, err
		},
	}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// watched is a connection that tells when the other side ends it.
type watched struct {
	net.Conn
	closed atomic.Bool // by this side
	ended  func(error)
}

func (c *watched) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !c.closed.Load() {
		c.ended(err)
	}
	return n, err
}

func (c *watched) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// keepAlive sends one request after the other.
func (s *rotated) keepAlive(ctx context.Context, w *world, count *atomic.Int64, http2 bool) {
	c := s.client(ctx, w, http2)
	for pause(ctx) {
		resp, err := c.Get("https://" + s.host + "/hello")
		if err != nil {
			w.t.Errorf("request to %s: %v", s.host, err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(body) != "hello" || resp.ProtoAtLeast(2, 0) != http2 {
			w.t.Errorf("request to %s: got %s %s %q, %v, want 200 and hello", s.host, resp.Proto, resp.Status, body, err)
			return
		}
		count.Add(1)
	}
}

// stream reads one answer that lasts as long as the test, over HTTP/2.
func (s *rotated) stream(ctx context.Context, w *world, count *atomic.Int64) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.host+"/ticks", nil)
	if err != nil {
		w.t.Error(err)
		return
	}
	resp, err := s.client(ctx, w, true).Do(req)
	if err != nil {
		w.t.Errorf("stream from %s: %v", s.host, err)
		return
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for want := 0; lines.Scan(); want++ {
		if got := lines.Text(); got != fmt.Sprint(want) {
			w.t.Errorf("stream from %s: got tick %s, want %d", s.host, got, want)
			return
		}
		count.Add(1)
	}
	if ctx.Err() == nil {
		w.t.Errorf("stream from %s was cut: %v", s.host, lines.Err())
	}
}

// ticker is an upstream that greets, and counts for ever.
func ticker(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "hello") })
	mux.HandleFunc("/ticks", func(rw http.ResponseWriter, r *http.Request) {
		for n := 0; r.Context().Err() == nil; n++ {
			fmt.Fprintln(rw, n)
			rw.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}
