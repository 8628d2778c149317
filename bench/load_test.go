package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// listen is a TLS listener with a certificate of its own authority.
func listen(t *testing.T, c *tls.Config) (*authority, pair, net.Listener) {
	ca, err := newAuthority(ecc)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.pair(hostName(0))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair([]byte(p.cert), []byte(p.key))
	if err != nil {
		t.Fatal(err)
	}
	c.Certificates = []tls.Certificate{cert}
	l, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	return ca, p, l
}

// TestGenerate drives the kinds of load, for a moment, against a crypto/tls server in
// front of the bench's own upstream.
func TestGenerate(t *testing.T) {
	ca, p, l := listen(t, &tls.Config{})
	ended := make(chan error, 1)
	go func() { ended <- upstream(l) }()
	for _, kind := range []string{"handshakes", "handshakes12", "resumed13", "resumed12", "requests"} {
		var out bytes.Buffer
		if err := generate([]string{kind, "-addr", l.Addr().String(), "-conns", "2", "-seconds", "0.2"}, &out); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		var o outcome
		if err := json.Unmarshal(out.Bytes(), &o); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if o.check() != nil || o.Failed != 0 || len(o.Latencies) != o.Done {
			t.Errorf("%s: got %d done, %d failed (%s), %d latencies", kind, o.Done, o.Failed, o.Problem, len(o.Latencies))
		}
	}
	if err := served(l.Addr().String(), ca, 0, p); err != nil {
		t.Errorf("the certificate that is there: %v", err)
	}
	if err := served(l.Addr().String(), ca, 0, pair{leaf: []byte("another")}); err == nil {
		t.Error("a certificate that is not there: got no error")
	}
	l.Close()
	if err := <-ended; err != nil {
		t.Errorf("the upstream, closed: got %v", err)
	}
}

// TestFirst: one handshake for each host, however many connections share them.
func TestFirst(t *testing.T) {
	var asked sync.Map
	_, _, l := listen(t, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		times, _ := asked.LoadOrStore(h.ServerName, new(atomic.Int64))
		times.(*atomic.Int64).Add(1)
		return nil, nil
	}})
	defer l.Close()
	go func() { _ = upstream(l) }()
	over := load{addr: l.Addr().String(), hosts: 20, conns: 3, seconds: 10, next: new(atomic.Int64)}
	if o := over.run(over.first); o.check() != nil || o.Done != over.hosts {
		t.Errorf("got %d done (%s), want one for each host", o.Done, o.Problem)
	}
	for i := range over.hosts {
		if times, ok := asked.Load(hostName(i)); !ok || times.(*atomic.Int64).Load() != 1 {
			t.Errorf("%s: was not asked for once", hostName(i))
		}
	}
	over.next, over.seconds = new(atomic.Int64), 1e-6
	if o := over.run(over.first); o.Failed == 0 {
		t.Error("hosts that there was no time for: no failure")
	}
}

// TestNotResumed: a full handshake does not count as a resumed one.
func TestNotResumed(t *testing.T) {
	_, _, l := listen(t, &tls.Config{SessionTicketsDisabled: true})
	defer l.Close()
	go func() { _ = upstream(l) }()
	over := load{addr: l.Addr().String(), hosts: 1, conns: 1, seconds: 0.05}
	for name, work := range map[string]func(context.Context, *tally) error{"1.3": over.resumed13, "1.2": over.resumed12} {
		if o := over.run(work); o.Done != 0 || o.Problem != errNotResumed.Error() {
			t.Errorf("TLS %s: got %d done, %q, want none, not resumed", name, o.Done, o.Problem)
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	if err := generate([]string{"nonsense"}, &bytes.Buffer{}); err == nil {
		t.Error("an unknown kind: got no error")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	o := load{addr: l.Addr().String(), hosts: 1, conns: 1}.run(func(_ context.Context, t *tally) error {
		t.did(time.Now(), errors.New("refused"))
		return nil
	})
	if o.Failed != 1 || o.Problem != "refused" || o.check() == nil {
		t.Errorf("got %+v, want one failure and no figure from it", o)
	}
}

func TestCheckToleratesFew(t *testing.T) {
	for _, test := range []struct {
		done, failed int
		good         bool
	}{{1000, 0, true}, {1000, 1, true}, {1000, 2, false}, {0, 0, false}} {
		o := outcome{Done: test.done, Failed: test.failed}
		if got := o.check() == nil; got != test.good {
			t.Errorf("%d done, %d failed: got %v, want %v", test.done, test.failed, got, test.good)
		}
	}
}
