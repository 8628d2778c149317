package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// The rotation storm: this many rotations a second of so many hosts, spread over all,
// beside handshakes. Periods with and without it take turns, because what else the
// machine does would otherwise meet one of the two.
const (
	stormRate    = 100
	stormHosts   = 200
	stormConns   = 4
	stormSeconds = 5 // of a period
)

// storm measures lacre's handshakes without and with a storm of rotations, on the one core
// that it has, among as many certificates as -storm says. The peers are left out: a
// rotation of theirs takes longer than the pause between two, or is not durable.
func (b *bench) storm(ctx context.Context) error {
	m, err := b.newStorm(ctx)
	if err != nil {
		return err
	}
	defer m.stop()
	if err := m.startAll(ctx, false); err != nil {
		return err
	}
	hosts := m.stormHosts()
	other, err := m.others(hosts) // made before: making them takes time
	if err != nil {
		return err
	}
	s := &storming{measuring: m, e: m.edges[0], hosts: hosts, other: other}
	for range max(b.stormTime/stormSeconds, 1) {
		if err := s.turns(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) newStorm(ctx context.Context) (*measuring, error) {
	ca, err := newAuthority(ecc)
	if err != nil {
		return nil, err
	}
	pairs, err := ca.pairs(b.stormSize)
	if err != nil {
		return nil, err
	}
	e, err := newLacreEdge(ctx, b.binary, b.report.Versions["lacre"], filepath.Join(b.dir, "storm"), pairs, "127.0.0.1:9")
	part := fmt.Sprintf("Rotation storm, %d a second among %d certificates, lacre on one core", stormRate, len(pairs))
	return &measuring{bench: b, ca: ca, pairs: pairs, part: part, edges: []edge{e}}, err
}

// stormHosts are those that are rotated: some from everywhere.
func (m *measuring) stormHosts() (hosts []int) {
	n := min(len(m.pairs), stormHosts)
	for i := range n {
		hosts = append(hosts, i*len(m.pairs)/n)
	}
	return hosts
}

// others are second pairs of the hosts.
func (m *measuring) others(hosts []int) (all []pair, err error) {
	for _, i := range hosts {
		p, err := m.ca.pair(hostName(i))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// storming is one measurement of a storm.
type storming struct {
	*measuring
	e     edge
	hosts []int
	other []pair // of each of the hosts
	n     int    // rotations until now
}

// turns is one period without rotations and one with them.
func (s *storming) turns(ctx context.Context) error {
	calm, err := s.period(ctx, "handshakes without rotations")
	if err != nil {
		return err
	}
	storm, stop := context.WithCancel(ctx)
	defer stop()
	var rotating sync.WaitGroup
	var times []float64
	var failed error
	rotating.Go(func() { times, failed = s.rotate(storm) })
	stormy, err := s.period(ctx, "handshakes during a storm of rotations")
	stop()
	rotating.Wait()
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	s.collect("rotations during the handshakes: time of one, durable", s.e, "ms", times...)
	s.collect("rotations during the handshakes: reached", s.e, "1/s", float64(len(times))/stormSeconds)
	s.collect("p99 of handshakes with rotations by that without, period by period (goal: median < 1.2)", s.e, "", ratio(stormy, calm))
	return nil
}

// period is one of handshakes. It returns their 99th percentile in milliseconds.
func (s *storming) period(ctx context.Context, what string) (p99 float64, err error) {
	o, err := s.outcome(ctx, s.e, what, "handshakes", load{conns: stormConns, seconds: stormSeconds})
	if err != nil {
		return 0, err
	}
	return quantile(slices.Sorted(slices.Values(o.Latencies)), 0.99), nil
}

// rotate rotates certificates at a steady pace until ctx ends, and returns how long each
// rotation took, in milliseconds.
func (s *storming) rotate(ctx context.Context) (times []float64, err error) {
	tick := time.NewTicker(time.Second / stormRate)
	defer tick.Stop()
	for ; ; s.n++ {
		select {
		case <-ctx.Done():
			return times, nil
		case <-tick.C:
		}
		begin := time.Now()
		i := s.hosts[s.n%len(s.hosts)]
		p := s.other[s.n%len(s.hosts)]
		if s.n/len(s.hosts)%2 == 1 { // forth and back: each is a real change
			p = s.pairs[i]
		}
		if err := s.e.rotate(i, p); err != nil {
			return times, err
		}
		times = append(times, millis(time.Since(begin)))
	}
}

// watchPeak samples the anonymous memory of a process until the returned function is called,
// which returns the most that was seen.
func watchPeak(pid int) func() int64 {
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		for {
			if now, err := memoryOf(pid); err == nil {
				peak = max(peak, now.anonymous)
			}
			select {
			case <-stop:
				most <- peak
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-most
	}
}
