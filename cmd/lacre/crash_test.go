package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	stormSites   = 4
	stormWriters = 2 // for each site
)

// history is what the writers of one certificate know about it: which leaf they sent and
// which generation its acknowledgement named, if it was acknowledged.
type history struct {
	site
	mu         sync.Mutex
	sent       int          // leaves made so far: each has its own number
	open       map[int]bool // leaves sent whose outcome nobody knows
	current    int          // leaf of the newest acknowledgement
	generation int          // of that acknowledgement
}

func (h *history) next() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent++
	h.open[h.sent] = true
	return h.sent
}

func (h *history) acknowledged(leaf, generation int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, leaf)
	if generation > h.generation {
		h.current, h.generation = leaf, generation
	}
}

// TestCrashStorm kills a serve again and again while clients modify certificates. After
// each restart nothing that was acknowledged is lost, and every certificate is whole.
func TestCrashStorm(t *testing.T) {
	t.Parallel()
	kills := 20
	if nightly() {
		kills = 200
	}
	random := seeded(t)
	dir := t.TempDir()
	p := start(t, dir)
	w := visitLacre(t, dir)
	histories := make([]*history, stormSites)
	for i := range histories {
		h := &history{open: map[int]bool{}, sent: 1, current: 1, generation: 1}
		h.host = fmt.Sprintf("shop%d.crash.test", i)
		h.site = w.publish(h.host, "", w.leaf(h.host, 1))
		h.generation = w.ask("GET", "/certificates/"+h.id, nil, 200).generation()
		histories[i] = h
	}
	total := 0
	for kill := range kills {
		total += storm(w, histories, p, 50*time.Millisecond+time.Duration(random.Int64N(int64(400*time.Millisecond))))
		if kill%4 == 3 { // and once more while it starts
			p = launch(t, dir)
			time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
			p.kill()
		}
		p = start(t, dir)
		w.follow(dir)
		wantCredentials(w, dir)
		for _, h := range histories {
			h.check(w)
		}
		if t.Failed() {
			t.Fatalf("after kill %d\n%s", kill+1, &p.talk)
		}
	}
	if total < kills {
		t.Errorf("got %d acknowledged modifications over %d kills: that is no storm", total, kills)
	}
	t.Logf("%d kills, %d acknowledged modifications", kills, total)
	p.stop()
}

// seeded is a source of random numbers that a failed run can be repeated with.
func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// storm modifies every certificate from several clients until the process, killed after
// a while, answers no more. It returns how many modifications were acknowledged.
func storm(w *world, histories []*history, p *process, calm time.Duration) int {
	var acknowledged atomic.Int64
	var writers sync.WaitGroup
	for _, h := range histories {
		for range stormWriters {
			writers.Go(func() {
				for h.modify(w) {
					acknowledged.Add(1)
				}
			})
		}
	}
	time.Sleep(calm)
	p.kill()
	writers.Wait()
	return int(acknowledged.Load())
}

// modify sends the next leaf. It tells whether there was an answer.
func (h *history) modify(w *world) bool {
	n := h.next()
	a, err := w.project(http.MethodPut, "/certificates/"+h.id, h.upload(w.leaf(h.host, n)))
	if err != nil {
		return false
	}
	if a.status != http.StatusOK {
		w.t.Errorf("PUT of leaf %d for %s: got %d %s, want 200", n, h.host, a.status, a.body)
		return false
	}
	h.acknowledged(n, a.generation())
	return true
}

// check compares the certificate with what is known of it, and settles what was open.
func (h *history) check(w *world) {
	w.t.Helper()
	a := w.ask("GET", "/certificates/"+h.id, nil, 200)
	got, err := strconv.Atoi(a.field("serial_number"))
	if err != nil {
		w.t.Errorf("%s: serial number: %v", h.host, err)
	}
	switch generation := a.generation(); {
	case generation < h.generation:
		w.t.Errorf("%s: got generation %d, want %d, which was acknowledged", h.host, generation, h.generation)
	case generation == h.generation && got != h.current:
		w.t.Errorf("%s: got leaf %d at generation %d, want leaf %d, which was acknowledged", h.host, got, generation, h.current)
	case generation > h.generation && !h.open[got]:
		w.t.Errorf("%s: got leaf %d at generation %d, want one of %v, which were sent and not answered",
			h.host, got, generation, slices.Sorted(maps.Keys(h.open)))
	default:
		h.current, h.generation = got, generation
	}
	clear(h.open)
	w.wantServed(h.host, got)
}

// wantCredentials fails the test unless the files of the data directory are whole and
// still the first ones, and an old token still opens the API.
func wantCredentials(w *world, dir string) {
	w.t.Helper()
	var now Credentials
	readInto(w.t, dir+"/"+credentialsFile, &now)
	if now != w.creds {
		w.t.Errorf("got credentials for %s, want those of the first start for %s", now.ProjectID, w.creds.ProjectID)
	}
	w.ask("GET", "/instances/"+w.creds.InstanceID, nil, 200)
}

// TestCrashAtFirstStart kills the very first start of an empty directory at many
// moments: the next start must leave a way in.
func TestCrashAtFirstStart(t *testing.T) {
	t.Parallel()
	tries := 4
	if nightly() {
		tries = 60
	}
	random := seeded(t)
	for range tries {
		dir := t.TempDir()
		p := launch(t, dir)
		time.Sleep(time.Duration(random.Int64N(int64(600 * time.Millisecond))))
		p.kill()
		p = start(t, dir)
		w := visitLacre(t, dir)
		w.ask("GET", "/instances/"+w.creds.InstanceID, nil, 200)
		p.stop()
	}
}
