package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soak is how long TestSoak runs with how many connections. LACRE_SOAK and
// LACRE_SOAK_CONNECTIONS say otherwise.
type soak struct {
	lasts       time.Duration
	connections int
}

func theSoak(t *testing.T) soak {
	s := soak{3 * time.Second, 100}
	if nightly() {
		s = soak{time.Hour, 2000}
	}
	var err error
	if text := os.Getenv("LACRE_SOAK"); text != "" {
		if s.lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("LACRE_SOAK_CONNECTIONS"); text != "" {
		if s.connections, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

const (
	soakRate  = 10 // rotations a second
	soakSites = 16 // half of them with a gRPC upstream
)

// TestSoak keeps connections of every kind open to the real process while certificates
// are rotated under them: none may be reset, all go on being answered, and memory stays
// where it was after the first quarter of the time.
func TestSoak(t *testing.T) {
	size := theSoak(t)
	p := start(t, t.TempDir())
	w := visitLacre(t, p.dir)
	k := &soaking{world: w, resets: new(atomic.Int64), done: map[string]*atomic.Int64{}}
	kinds := k.kinds()
	sites := k.sites()
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for i := range size.connections {
		kind := kinds[i%len(kinds)]
		s := sites[kind.upstream][i/len(kinds)%(soakSites/2)]
		clients.Go(func() {
			if wait(ctx, time.Duration(rand.Int64N(int64(size.lasts/8)))) { // not all at once
				kind.talk(ctx, s, k.done[kind.name])
			}
		})
	}
	rotations, memory := k.rotateFor(p, size, slices.Concat(sites["http"], sites["grpc"]))
	stop()
	clients.Wait()
	if !k.answered(size) {
		t.Errorf("got %s, want more than the %d connections", k.answers(), size.connections)
	}
	if least := int(size.lasts.Seconds()) * soakRate / 2; rotations < least && nightly() {
		t.Errorf("got %d rotations, want at least %d", rotations, least)
	}
	t.Logf("%v, %d connections, %d rotations, %d resets; answers: %s", size.lasts, size.connections, rotations, k.resets.Load(), k.answers())
	k.wantFlat(memory, size.lasts)
}

// soaking is one run of TestSoak.
type soaking struct {
	*world
	resets *atomic.Int64
	done   map[string]*atomic.Int64 // answers by kind of connection; not changed while clients run
}

func (k *soaking) answers() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(k.done)) {
		parts = append(parts, fmt.Sprintf("%d %s", k.done[name].Load(), name))
	}
	return strings.Join(parts, ", ")
}

// sites are those with either upstream, each with a certificate of its own.
func (k *soaking) sites() map[string][]*rotated {
	upstreams := map[string]string{"http": echoHTTP(k.t), "grpc": echoGRPC(k.t)}
	sites := map[string][]*rotated{}
	for kind, upstream := range upstreams {
		for i := range soakSites / 2 {
			host := fmt.Sprintf("%s%d.soak.test", kind, i)
			s := &rotated{site: k.publish(host, upstream, k.leaf(host, 1))}
			s.floor.Store(1)
			s.last.Store(1)
			sites[kind] = append(sites[kind], s)
		}
	}
	return sites
}

// answered tells whether there were more answers of each kind than connections.
func (k *soaking) answered(size soak) bool {
	for _, n := range k.done {
		if n.Load() <= int64(size.connections/len(k.done)) {
			return false
		}
	}
	return true
}

// rotateFor rotates one site after the other at the rate of the soak, and returns how
// often it did and the memory of the process, every second. It takes longer when a busy
// machine has not made all connections yet.
func (k *soaking) rotateFor(p *process, size soak, sites []*rotated) (count int, memory []int) {
	tick := time.NewTicker(time.Second / soakRate)
	defer tick.Stop()
	for began := time.Now(); !k.t.Failed(); count++ {
		if since := time.Since(began); since > size.lasts+patience || since > size.lasts && k.answered(size) {
			break
		}
		<-tick.C
		if !sites[count%len(sites)].rotate(k.world) {
			break
		}
		if since := time.Since(began); int(since.Seconds()) >= len(memory) {
			memory = append(memory, p.resident())
			if len(memory)%60 == 0 {
				k.t.Logf("%v: %d rotations, %d KiB, %s", since.Round(time.Second), count+1, memory[len(memory)-1], k.answers())
			}
		}
	}
	return count, memory
}

// resident is the anonymous resident memory of the process in KiB, 0 where the system
// does not tell.
func (p *process) resident() int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}

// wantFlat compares the second quarter of the samples with the last: the first quarter is
// for the connections to come and the pools to fill. A quarter is taken by its median,
// which the collector's own ups and downs do not move. Less than half an hour is not
// judged: the engine keeps some thousand changes in memory before it drops the first, and
// the first quarter has to see that.
func (k *soaking) wantFlat(samples []int, lasts time.Duration) {
	k.t.Helper()
	if len(samples) < 8 || samples[0] == 0 {
		k.t.Logf("memory is not judged: %d samples", len(samples))
		return
	}
	quarter := len(samples) / 4
	first, last := median(samples[quarter:2*quarter]), median(samples[len(samples)-quarter:])
	k.t.Logf("resident memory: %d KiB after warm-up, %d KiB at the end (%+.1f %%)", first, last, 100*float64(last-first)/float64(first))
	if lasts >= 30*time.Minute && last > first+first/20 {
		k.t.Errorf("got %d KiB of resident memory at the end, want at most 5 %% above %d KiB", last, first)
	}
}

func median[T cmp.Ordered](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
