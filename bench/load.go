package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// load is what a generator process is told: it runs pinned beside the server, so that
// neither takes the other's core.
type load struct {
	addr    string
	hosts   int
	conns   int
	seconds float64
	next    *atomic.Int64 // host of each of a load that goes through all of them
}

// outcome is what a generator process writes to its standard output.
type outcome struct {
	Done      int       // operations that succeeded within the time
	Failed    int       // operations that did not succeed
	Seconds   float64   // how long it really took
	Latencies []float64 // of the operations done, in milliseconds
	Problem   string    // the first failure
}

// generate is the command line of a generator process: handshakes or requests.
func generate(args []string, out io.Writer) error {
	l := load{next: new(atomic.Int64)}
	f := flag.NewFlagSet("generate", flag.ContinueOnError)
	f.StringVar(&l.addr, "addr", "", "address of the TLS server")
	f.IntVar(&l.hosts, "hosts", 1, "hosts the server has a certificate for")
	f.IntVar(&l.conns, "conns", 1, "connections at once")
	f.Float64Var(&l.seconds, "seconds", 1, "how long")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	work := map[string]func(context.Context, *tally) error{"handshakes": l.handshakes, "first": l.first, "handshakes12": l.handshakes12,
		"resumed13": l.resumed13, "resumed12": l.resumed12, "requests": l.requests, "tlcp": l.tlcpHandshakes}[args[0]]
	if work == nil {
		return fmt.Errorf("unknown kind of load %q", args[0])
	}
	return json.NewEncoder(out).Encode(l.run(work))
}

// tally collects what one connection of a load achieves.
type tally struct{ outcome }

// did counts an operation that began at start.
func (t *tally) did(start time.Time, err error) {
	if err == nil {
		t.Done++
		t.Latencies = append(t.Latencies, millis(time.Since(start)))
		return
	}
	if t.Failed++; t.Problem == "" {
		t.Problem = err.Error()
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// run does work on every connection at once until the time is over.
func (l load) run(work func(context.Context, *tally) error) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(l.seconds*float64(time.Second)))
	defer cancel()
	tallies := make([]tally, l.conns)
	start := time.Now()
	var all sync.WaitGroup
	for i := range tallies {
		all.Go(func() {
			if err := work(ctx, &tallies[i]); err != nil {
				tallies[i].did(start, err)
			}
		})
	}
	all.Wait()
	sum := outcome{Seconds: time.Since(start).Seconds()}
	for _, t := range tallies {
		sum.add(t.outcome)
	}
	return sum
}

func (o *outcome) add(more outcome) {
	o.Done += more.Done
	o.Failed += more.Failed
	o.Latencies = append(o.Latencies, more.Latencies...)
	if o.Problem == "" {
		o.Problem = more.Problem
	}
}

// handshakes makes full handshakes, one after the other, each on a new connection and
// for a random host.
func (l load) handshakes(ctx context.Context, t *tally) error {
	client, err := newClient13(rand.Reader)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		start := time.Now()
		t.did(start, l.handshake(client, hostName(mathrand.IntN(l.hosts))))
	}
	return nil
}

// first makes one full handshake for each host.
func (l load) first(ctx context.Context, t *tally) error {
	client, err := newClient13(rand.Reader)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		host := int(l.next.Add(1)) - 1
		if host >= l.hosts {
			return nil
		}
		start := time.Now()
		t.did(start, l.handshake(client, hostName(host)))
	}
	return ctx.Err()
}

// handshakes12 is handshakes with TLS 1.2, by an ordinary client that verifies nothing.
func (l load) handshakes12(ctx context.Context, t *tally) error {
	for ctx.Err() == nil {
		start := time.Now()
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", l.addr, &tls.Config{
			ServerName: hostName(mathrand.IntN(l.hosts)), InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
			CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256}, // the leaf's own, or OpenSSL refuses
			CipherSuites:     []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}})
		if err == nil {
			conn.Close()
		}
		t.did(start, err)
	}
	return nil
}

// patience bounds one operation of a load.
const patience = 10 * time.Second

func (l load) handshake(client *client13, host string) error {
	conn, err := net.DialTimeout("tcp", l.addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	return client.handshake(conn, host)
}

// requests makes requests on one connection, one after the other.
func (l load) requests(ctx context.Context, t *tally) error {
	host := hostName(mathrand.IntN(l.hosts))
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", l.addr, &tls.Config{
		ServerName: host, InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}})
	if err != nil {
		return err
	}
	defer conn.Close()
	k := newKeepAlive(conn)
	request := []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
	for ctx.Err() == nil {
		start := time.Now()
		status, _, err := k.do(request)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("HTTP %d", status)
		}
		t.did(start, err)
		if err != nil {
			return nil // the connection is of no more use
		}
	}
	return nil
}

// keepAlive makes prepared HTTP/1.1 requests on one connection, with less work than a
// http.Client.
type keepAlive struct {
	net.Conn
	in *bufio.Reader
}

func newKeepAlive(conn net.Conn) *keepAlive { return &keepAlive{conn, bufio.NewReader(conn)} }

// do sends a prepared request and returns the status and the start of the body.
func (k *keepAlive) do(request []byte) (status int, body []byte, err error) {
	if err := k.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	if _, err := k.Write(request); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, body, err
}

// page is what the upstream answers whatever it is asked.
const page = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"

// upstream answers requests without a body on every connection of l until it is closed:
// as little work as possible, so that the proxies are what is measured.
func upstream(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			in := bufio.NewReader(conn)
			for {
				line, err := in.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) > 2 {
					continue
				}
				if _, err := conn.Write([]byte(page)); err != nil {
					return
				}
			}
		}()
	}
}
