package main

import (
	"context"
	"sync"
	"time"
)

// The rotation storm: this many rotations a second for so long, beside handshakes.
const (
	stormRate    = 100
	stormSeconds = 20
	stormConns   = 4
)

// storms measures lacre's handshakes without and with a storm of rotations. The peers are
// left out: a rotation of theirs takes longer than the pause between two, or is not durable.
func (m *measuring) storms(ctx context.Context) error {
	e := m.edges[0]
	calm := load{conns: stormConns, seconds: stormSeconds}
	if err := m.driven(ctx, e, "handshakes without rotations", "handshakes", calm); err != nil {
		return err
	}
	pairs, err := m.ca.pairs(min(len(m.pairs), stormRate)) // made before: making them takes time
	if err != nil {
		return err
	}
	storm, stop := context.WithCancel(ctx)
	var rotating sync.WaitGroup
	var times []float64
	rotating.Go(func() { times, err = m.storm(storm, e, pairs) })
	failed := m.driven(ctx, e, "handshakes during a storm of rotations", "handshakes", calm)
	stop()
	rotating.Wait()
	if err == nil {
		err = failed
	}
	m.collect("rotations during the handshakes: time of one, durable", e, "ms", times...)
	m.collect("rotations during the handshakes: reached", e, "1/s", float64(len(times))/stormSeconds)
	return err
}

// storm rotates certificates at a steady pace until ctx ends, and returns how long each
// rotation took, in milliseconds.
func (m *measuring) storm(ctx context.Context, e edge, pairs []pair) (times []float64, err error) {
	tick := time.NewTicker(time.Second / stormRate)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return times, nil
		case <-tick.C:
		}
		begin := time.Now()
		i, p := n%len(pairs), pairs[n%len(pairs)]
		if n/len(pairs)%2 == 1 { // forth and back: each is a real change
			p = m.pairs[i]
		}
		if err := e.rotate(i, p); err != nil {
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
