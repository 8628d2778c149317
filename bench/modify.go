package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The load of the modifications.
const (
	writers        = 64
	modified       = 256 // certificates, each bound to its domain; a multiple of writers
	modifySeconds  = 4   // of a round with all writers
	oneSeconds     = 2   // of a round with one writer
	handshakesOnce = 100 // PUTs followed by a handshake, in a round
)

const partPut = "Modifications (PUT of an ECC pair with its intermediate, bound to a domain)"

// putting is a running lacre with two prepared PUTs for each certificate. The one sent is
// always the one that is not current, so that each is a real change: a new version, sealed
// and on disk.
type putting struct {
	*lacreNode
	ca       *authority
	pairs    [2][]pair
	requests [2][][]byte
	current  [modified]int // which pair a certificate has; each has one writer at a time
}

// modifications measures the control plane: how many modifications are made durable in a
// second, how long one takes, and how long until handshakes show it.
func (b *bench) modifications(ctx context.Context) error {
	p, err := b.newPutting()
	if err != nil {
		return err
	}
	defer p.stop()
	b.fsync()
	for range b.rounds {
		if err := b.together(ctx, p); err != nil {
			return err
		}
		if err := b.alone(ctx, p); err != nil {
			return err
		}
		if err := b.untilServed(p); err != nil {
			return err
		}
	}
	b.report.add(partPut, "modifications a second, 64 clients", "lacre", "1/s", "≥ 2,000", b.rates...)
	b.report.add(partPut, "time of one, 64 clients", "lacre", "ms", "p99 < 50", b.together64...)
	b.report.add(partPut, "time of one, 1 client", "lacre", "ms", "median < 3", b.alone1...)
	b.report.add(partPut, "server CPU of one, 64 clients", "lacre", "µs", "", b.putCPU...)
	b.report.add(partPut, "PUT sent to first handshake with the new certificate", "lacre", "ms", "median < 5, p99 < 20", b.visible...)
	return nil
}

func (b *bench) newPutting() (*putting, error) {
	dir := filepath.Join(b.dir, "modify")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	p := &putting{lacreNode: newLacre(b.binary, dir, anyCore)}
	var err error
	if p.ca, err = newAuthority(ecc); err != nil {
		return nil, err
	}
	for turn := range p.pairs {
		if p.pairs[turn], err = p.ca.pairs(modified); err != nil {
			return nil, err
		}
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	if err := p.prepare(); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *putting) prepare() error {
	if err := p.seed(p.pairs[0], ""); err != nil {
		return err
	}
	for turn, pairs := range p.pairs {
		for i, pair := range pairs {
			request, err := p.modification(i, pair)
			if err != nil {
				return err
			}
			p.requests[turn] = append(p.requests[turn], request)
		}
	}
	return nil
}

// writer sends PUTs for every step-th certificate on one connection until ctx ends, so
// that two writers never meet.
func (p *putting) writer(ctx context.Context, first, step int, t *tally) error {
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.at.API, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	k := newKeepAlive(conn)
	for i := first; ctx.Err() == nil; i = (i + step) % modified {
		begin := time.Now()
		t.did(begin, p.put(k, i))
	}
	return nil
}

// put gives certificate i its other pair.
func (p *putting) put(k *keepAlive, i int) error {
	other := 1 - p.current[i]
	status, body, err := k.do(p.requests[other][i])
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("PUT: HTTP %d: %s", status, body)
	}
	p.current[i] = other
	return nil
}

// write lets clients send PUTs side by side for a while.
func (p *putting) write(clients int, seconds float64) (outcome, error) {
	first := make(chan int, clients)
	for i := range clients {
		first <- i
	}
	o := load{conns: clients, seconds: seconds}.run(func(ctx context.Context, t *tally) error {
		return p.writer(ctx, <-first, clients, t)
	})
	return o, o.check()
}

// together is a round of all writers.
func (b *bench) together(ctx context.Context, p *putting) error {
	before, err := cpuOf(p.pid())
	if err != nil {
		return err
	}
	if err := p.profile(); err != nil {
		return err
	}
	o, err := p.write(writers, modifySeconds)
	if err = errors.Join(err, p.profile()); err != nil {
		return err
	}
	after, err := cpuOf(p.pid())
	if err != nil {
		return err
	}
	rate := float64(o.Done) / o.Seconds
	b.talkf("64 clients: %.0f PUT/s", rate)
	b.rates = append(b.rates, rate)
	b.together64 = append(b.together64, o.Latencies...)
	b.putCPU = append(b.putCPU, micros(after-before)/float64(o.Done))
	return ctx.Err()
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// alone is a round of one writer.
func (b *bench) alone(ctx context.Context, p *putting) error {
	o, err := p.write(1, oneSeconds)
	if err != nil {
		return err
	}
	b.alone1 = append(b.alone1, o.Latencies...)
	return ctx.Err()
}

// untilServed modifies certificates one after the other and makes a handshake as soon as
// the answer is there. The handshake is verified and must show the new certificate: the
// answer promises that.
func (b *bench) untilServed(p *putting) error {
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.at.API, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	k := newKeepAlive(conn)
	for i := range handshakesOnce {
		begin := time.Now()
		if err := p.put(k, i); err != nil {
			return err
		}
		if err := served(p.at.Edge, p.ca, i, p.pairs[p.current[i]][i]); err != nil {
			return fmt.Errorf("the handshake after a PUT: %w", err)
		}
		b.visible = append(b.visible, millis(time.Since(begin)))
	}
	return nil
}

// fsync measures the disk under the store: 4 KB appended and made durable.
func (b *bench) fsync() {
	f, err := os.Create(filepath.Join(b.dir, "fsync"))
	if err != nil {
		b.report.missing("fsync: %v", err)
		return
	}
	defer f.Close()
	var times []float64
	for range 200 {
		begin := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil || f.Sync() != nil {
			b.report.missing("fsync: the disk refuses")
			return
		}
		times = append(times, millis(time.Since(begin)))
	}
	b.report.add(partPut, "this disk: append and fsync of 4 KB", "disk", "ms", "", times...)
}
