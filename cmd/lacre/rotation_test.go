package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rotations is how many modifications TestRotation makes. The race detector makes them
// several times slower; "make rotation" makes them all without it.
func rotations() int {
	if raceDetector && !nightly() {
		return 2000
	}
	return 10_000
}

const (
	rotatedSites = 16
	busySites    = 4 // of them have traffic all the time
)

// rotated is a site whose certificate is replaced over and over by one writer.
type rotated struct {
	site
	floor atomic.Int64 // number of the last leaf that was acknowledged
	last  atomic.Int64 // number of the last leaf that was sent
}

// TestRotation replaces certificates thousands of times under traffic. Every handshake
// is served a leaf with its own key, never an older one than the API has acknowledged;
// no connection is dropped; and memory stays where it was.
func TestRotation(t *testing.T) {
	n := inProcess(t, t.TempDir(), time.Now)
	w := visitLacre(t, n.cfg.DataDir)
	upstream := ticker(t)
	sites := make([]*rotated, rotatedSites)
	for i := range sites {
		host := fmt.Sprintf("shop%d.rotation.test", i)
		sites[i] = &rotated{site: w.publish(host, upstream, w.leaf(host, 1))}
		sites[i].floor.Store(1)
		sites[i].last.Store(1)
	}
	traffic, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	handshakes, requests, ticks := new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)
	for _, s := range sites[:busySites] {
		clients.Go(func() { s.shakeHands(traffic, w, handshakes) })
		clients.Go(func() { s.keepAlive(traffic, w, requests, false) })
		clients.Go(func() { s.keepAlive(traffic, w, requests, true) })
		clients.Go(func() { s.stream(traffic, w, ticks) })
	}
	start := time.Now()
	heaps := rotateInSteps(w, sites, rotations())
	took := time.Since(start)
	stop()
	clients.Wait()

	early, late := slices.Min(heaps[steps/10:steps/10+steps/5]), slices.Min(heaps[steps-steps/5:])
	t.Logf("%d rotations in %v beside %d handshakes, %d requests, %d ticks of streams; heap %d KiB early, %d KiB late",
		rotations(), took.Round(time.Millisecond), handshakes.Load(), requests.Load(), ticks.Load(), early>>10, late>>10)
	if limit := early + early/10 + 4<<20 + indexed*uint64(rotations()); late > limit && !raceDetector {
		t.Errorf("got a heap of %d KiB late, want at most %d KiB", late>>10, limit>>10)
	}
	for what, count := range map[string]*atomic.Int64{"handshakes": handshakes, "requests": requests, "ticks": ticks} {
		if count.Load() < 100 {
			t.Errorf("got %d %s, want enough to mean something", count.Load(), what)
		}
	}
	if got := w.metric("lacre_edge_damaged"); got != 0 {
		t.Errorf("got %v damaged, want 0", got)
	}
}

// inProcess opens and runs a node in this process until the test ends.
func inProcess(t *testing.T, dir string, now func() time.Time) *node {
	t.Helper()
	n, err := open(t.Context(), demoConfig(dir), slog.New(slog.DiscardHandler), now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- n.run(ctx, func() error {
			defer close(started)
			return n.announce()
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the node ended with: %v", err)
		}
	})
	select {
	case <-started:
	case err := <-ended:
		ended <- err
		t.Fatal("the node ended while starting")
	}
	return n
}

// steps is how often the heap is measured. etcd keeps up to 2,000 changes in memory and
// then drops them, so the heap goes up and down by 12 MB: what counts is the least of a
// fifth of the rotations, which is 2,000 without the race detector.
const steps = 50

// indexed is what etcd's index may grow by with each rotation, in bytes: it holds the key
// of every audit row as long as the row is kept, and of a dropped version until the
// history is compacted.
const indexed = 600

// rotateInSteps makes all rotations and returns the heap after each step.
func rotateInSteps(w *world, sites []*rotated, total int) []uint64 {
	var heaps []uint64
	for range steps {
		rotate(w, sites, total/steps)
		heaps = append(heaps, heap())
	}
	return heaps
}

// heap is what is in use after everything that can go is gone.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // finalizers and cleanups of the first free more
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// rotate makes count modifications, shared by all sites. After each one a handshake is
// served it.
func rotate(w *world, sites []*rotated, count int) {
	var writers sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(count))
	for _, s := range sites {
		writers.Go(func() {
			for left.Add(-1) >= 0 && s.rotate(w) {
			}
		})
	}
	writers.Wait()
}

func (s *rotated) rotate(w *world) bool {
	n := s.last.Add(1)
	a, err := w.project(http.MethodPut, "/certificates/"+s.id, s.upload(w.leaf(s.host, int(n))))
	if err != nil || a.status != http.StatusOK {
		w.t.Errorf("PUT of leaf %d for %s: got %v, %v, want 200", n, s.host, a, err)
		return false
	}
	if warning := a.header.Values("X-Lacre-Warning"); len(warning) > 0 {
		w.t.Errorf("PUT of leaf %d for %s: got warnings %q, want none", n, s.host, warning)
	}
	s.floor.Store(n)
	w.wantServed(s.host, int(n))
	return !w.t.Failed()
}
