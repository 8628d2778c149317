package edge_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"lacre"
	"lacre/edge"
	"lacre/keypair"
)

// faulty is the real feed with faults put in.
type faulty struct {
	edge.Feed
	mu      sync.Mutex
	load    error                                    // of AllDomains
	held    chan chan struct{}                       // gets a gate once AllDomains has read everything
	read    map[string]error                         // of LatestVersion, by certificate
	older   map[string]*lacre.Version                // LatestVersion falls back to it and reports damage
	change  func(lacre.Change) (lacre.Change, error) // of Watch
	end     context.CancelCauseFunc                  // ends the watch that runs
	watches int
}

var errFault = errors.New("a fault that was put in")

func (f *faulty) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *faulty) AllDomains(ctx context.Context, visit func(*lacre.Domain) error) (int64, []*lacre.UnreadableError, error) {
	f.mu.Lock()
	err, held := f.load, f.held
	f.mu.Unlock()
	switch {
	case err != nil:
		return 0, nil, err
	case held == nil:
		return f.Feed.AllDomains(ctx, visit)
	}
	var read []*lacre.Domain
	revision, bad, err := f.Feed.AllDomains(ctx, func(d *lacre.Domain) error { read = append(read, d); return nil })
	gate := make(chan struct{})
	select {
	case held <- gate:
		select {
		case <-gate:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	for _, d := range read {
		err = errors.Join(err, visit(d))
	}
	return revision, bad, err
}

func (f *faulty) LatestVersion(ctx context.Context, projectID, id string) (*lacre.Version, []*lacre.UnreadableError, error) {
	f.mu.Lock()
	err, older := f.read[id], f.older[id]
	f.mu.Unlock()
	if older != nil {
		return older, []*lacre.UnreadableError{{Record: older, Key: "test", Err: errFault}}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return f.Feed.LatestVersion(ctx, projectID, id)
}

func (f *faulty) Watch(ctx context.Context, after int64) iter.Seq2[lacre.Change, error] {
	ctx, cancel := context.WithCancelCause(ctx)
	f.set(func() { f.end = cancel; f.watches++ })
	return func(yield func(lacre.Change, error) bool) {
		defer cancel(nil)
		for change, err := range f.Feed.Watch(ctx, after) {
			f.mu.Lock()
			edit := f.change
			f.mu.Unlock()
			if edit != nil && err == nil {
				change, err = edit(change)
			}
			if !yield(change, err) || err != nil {
				return
			}
		}
		if cause := context.Cause(ctx); cause != nil {
			yield(lacre.Change{}, cause)
		}
	}
}

func (f *faulty) endWatch(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end(err)
}

func newFaultyWorld(t *testing.T, edits ...func(*edge.Config)) (*world, *faulty) {
	f := &faulty{Feed: shared, read: map[string]error{}, older: map[string]*lacre.Version{}}
	w := newWorld(t, append([]func(*edge.Config){func(c *edge.Config) {
		c.Feed = f
		c.Timeouts.Retry, c.Timeouts.Compare = 20*time.Millisecond, time.Hour
	}}, edits...)...)
	return w, f
}

// behind stores records without waiting for the edge, which is not told.
func (w *world) behind(records ...lacre.Record) int64 {
	w.Helper()
	revision, err := shared.Commit(context.Background(), lacre.Tx{
		Put: records, Audit: lacre.Audit{ProjectID: w.project, Action: lacre.CanModifyCertificate},
	})
	if err != nil {
		w.Fatal(err)
	}
	return revision
}

// TestFailStatic: without its feed an edge serves what it knows, and catches up when
// the feed is back.
func TestFailStatic(t *testing.T) {
	w, f := newFaultyWorld(t)
	_, c := w.site("a.example.com")
	before := w.serial("a.example.com")
	f.set(func() {
		f.load = lacre.ErrUnavailable
		f.change = func(lacre.Change) (lacre.Change, error) { return lacre.Change{}, lacre.ErrUnavailable }
	})
	f.endWatch(lacre.ErrUnavailable)
	next := w.leaf([]string{"a.example.com"})
	c.Version++
	revision := w.behind(c, w.version(c.ID, c.Version, next))
	for range 10 {
		if got := w.serial("a.example.com"); got != before {
			t.Fatalf("got leaf %s while the feed is away, want %s as before", got, before)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := w.edge.Applied(ctx, revision); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Applied while the feed is away: got %v, want the context's error", err)
	}
	f.set(func() { f.load, f.change = nil, nil })
	w.applied(revision)
	if got, want := w.serial("a.example.com"), next.Cert.SerialNumber.String(); got != want {
		t.Errorf("after the feed is back: got leaf %s, want %s", got, want)
	}
	if s := w.edge.Status(); !s.Connected || s.Revision < revision {
		t.Errorf("got status %+v, want connected at %d or later", s, revision)
	}
}

func TestNotReadyBeforeTheFirstLoad(t *testing.T) {
	f := &faulty{Feed: shared, load: lacre.ErrUnavailable}
	w := newWorld(t, func(c *edge.Config) { c.Feed = f; c.Timeouts.Retry = 10 * time.Millisecond })
	if s := w.edge.Status(); s.Ready || !s.Contact.IsZero() {
		t.Errorf("got %+v before anything was loaded, want not ready and no contact", s)
	}
	if _, err := w.dial("a.example.com"); !isAlert(err, 112) {
		t.Errorf("got %v, want alert unrecognized_name", err)
	}
	f.set(func() { f.load = nil })
	select {
	case <-w.edge.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("not ready although the feed is back")
	}
	if !w.edge.Status().Ready {
		t.Error("Ready is closed and the status says no")
	}
}

// TestCompaction: the watch cannot go on, everything is loaded again: what changed,
// what came and what went meanwhile.
func TestCompaction(t *testing.T) {
	w, f := newFaultyWorld(t)
	_, changed := w.site("changed.example.com")
	gone, _ := w.site("gone.example.com")
	w.site("kept.example.com")
	kept := w.serial("kept.example.com")
	f.set(func() {
		f.change = func(lacre.Change) (lacre.Change, error) { return lacre.Change{}, lacre.ErrCompacted }
		f.load = lacre.ErrUnavailable // until all of it has happened
	})
	f.endWatch(lacre.ErrCompacted)
	next := w.leaf([]string{"changed.example.com"})
	changed.Version++
	w.behind(changed, w.version(changed.ID, changed.Version, next))
	w.edgeless(func() {
		w.commit(lacre.Tx{Delete: []lacre.Record{gone}})
		w.site("came.example.com")
	})
	f.set(func() { f.change, f.load = nil, nil })
	w.applied(w.store(&lacre.Project{ID: lacre.NewID(), Name: "later"}))
	if got, want := w.serial("changed.example.com"), next.Cert.SerialNumber.String(); got != want {
		t.Errorf("changed: got leaf %s, want %s", got, want)
	}
	if got := w.serial("kept.example.com"); got != kept {
		t.Errorf("kept: got leaf %s, want %s", got, kept)
	}
	w.connect("came.example.com")
	if _, err := w.dial("gone.example.com"); !isAlert(err, 112) {
		t.Errorf("gone: got %v, want alert unrecognized_name", err)
	}
}

// edgeless commits without waiting for the edge.
func (w *world) edgeless(do func()) {
	e := w.edge
	w.edge = nil
	do()
	w.edge = e
}

// TestCompareRepairs: events that a watch lost are found by the periodic compare.
func TestCompareRepairs(t *testing.T) {
	w, f := newFaultyWorld(t, func(c *edge.Config) { c.Timeouts.Compare = 50 * time.Millisecond })
	_, changed := w.site("changed.example.com")
	gone, _ := w.site("gone.example.com")
	f.set(func() {
		f.change = func(c lacre.Change) (lacre.Change, error) { return lacre.Change{Revision: c.Revision}, nil }
	})
	next := w.leaf([]string{"changed.example.com"})
	w.rotate(changed, next)
	w.commit(lacre.Tx{Delete: []lacre.Record{gone}})
	w.site("came.example.com")
	eventually(t, "the compare to repair three lost events", func() bool {
		_, came := w.dial("came.example.com")
		_, goneErr := w.dial("gone.example.com")
		return came == nil && isAlert(goneErr, 112) &&
			w.serial("changed.example.com") == next.Cert.SerialNumber.String()
	})
}

// TestCompareNeverRevives: churn under a constantly running compare leaves exactly
// what the store holds.
func TestCompareNeverRevives(t *testing.T) {
	w, _ := newFaultyWorld(t, func(c *edge.Config) { c.Timeouts.Compare = time.Millisecond })
	for range 20 {
		d, _ := w.site("flip.example.com")
		if _, err := w.dial("flip.example.com"); err != nil {
			t.Fatalf("after the domain was applied: %v", err)
		}
		w.commit(lacre.Tx{Delete: []lacre.Record{d}})
		if _, err := w.dial("flip.example.com"); !isAlert(err, 112) {
			t.Fatalf("after the removal was applied: got %v, want alert unrecognized_name", err)
		}
	}
	if s := w.edge.Status(); s.Certificates != 0 || s.Sites != 0 {
		t.Errorf("got %d certificates and %d sites held, want none", s.Certificates, s.Sites)
	}
}

// TestCompareReadsBeforeARemoval: what a compare read before a domain was removed does
// not bring it back.
func TestCompareReadsBeforeARemoval(t *testing.T) {
	w, f := newFaultyWorld(t, func(c *edge.Config) { c.Timeouts.Compare = 10 * time.Millisecond })
	d, _ := w.site("a.example.com")
	held := make(chan chan struct{})
	f.set(func() { f.held = held })
	gate := <-held // a compare has read the domain
	w.commit(lacre.Tx{Delete: []lacre.Record{d}})
	close(gate)
	<-held // the next compare, which would repair it, goes no further
	for range 20 {
		if _, err := w.dial("a.example.com"); !isAlert(err, 112) {
			t.Fatalf("got %v after the removal was applied, want alert unrecognized_name", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestDamagedVersion: whatever is wrong with a new version, the last good one stays,
// other certificates go on, and a good version ends the damage.
func TestDamagedVersion(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(w *world, f *faulty, v *lacre.Version)
	}{
		{"unreadable record", func(_ *world, f *faulty, v *lacre.Version) {
			f.change = func(c lacre.Change) (lacre.Change, error) {
				return lacre.Change{Revision: c.Revision, Unreadable: []*lacre.UnreadableError{{Record: v, Key: "test", Err: errFault}}}, nil
			}
		}},
		{"key of another leaf", func(w *world, _ *faulty, v *lacre.Version) {
			v.SealedKey = w.version(v.CertificateID, 9, w.leaf([]string{"a.example.com"})).SealedKey
		}},
		{"key that was never sealed", func(_ *world, _ *faulty, v *lacre.Version) { v.SealedKey = []byte("junk") }},
		{"leaf that is none", func(_ *world, _ *faulty, v *lacre.Version) { v.Chain[0] = []byte("junk") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, f := newFaultyWorld(t)
			_, c := w.site("a.example.com")
			w.site("b.example.com")
			before := w.serial("a.example.com")
			c.Version++
			bad := w.version(c.ID, c.Version, w.leaf([]string{"a.example.com"}))
			f.set(func() { test.damage(w, f, bad) })
			w.store(c, bad)
			if got := w.serial("a.example.com"); got != before {
				t.Errorf("got leaf %s, want the last good one %s", got, before)
			}
			w.connect("b.example.com")
			if got := w.edge.Status().Damaged; got != 1 {
				t.Errorf("got %d damaged, want 1", got)
			}
			f.set(func() { f.change = nil })
			next := w.leaf([]string{"a.example.com"})
			w.rotate(c, next)
			if got, want := w.serial("a.example.com"), next.Cert.SerialNumber.String(); got != want {
				t.Errorf("after a good version: got leaf %s, want %s", got, want)
			}
			if got := w.edge.Status().Damaged; got != 0 {
				t.Errorf("after a good version: got %d damaged, want 0", got)
			}
		})
	}
}

// TestDamageAtLoad: a certificate whose newest version is unreadable is served with
// the newest that can be read; one without any concerns nobody else.
func TestDamageAtLoad(t *testing.T) {
	w, f := newFaultyWorld(t)
	old := w.leaf([]string{"old.example.com"})
	c, lost := w.certificate(old), w.certificate(w.leaf([]string{"lost.example.com"}))
	f.set(func() {
		f.older[c.ID] = w.version(c.ID, 1, old)
		f.read[lost.ID] = &lacre.UnreadableError{Record: &lacre.Version{}, Key: "test", Err: errFault}
	})
	w.domain("old.example.com", []*lacre.Certificate{c})
	w.domain("lost.example.com", []*lacre.Certificate{lost})
	w.domain("dangling.example.com", []*lacre.Certificate{{ID: lacre.NewID(), Facts: keypair.Facts{Algorithm: keypair.ECC}}})
	if got, want := w.serial("old.example.com"), old.Cert.SerialNumber.String(); got != want {
		t.Errorf("got leaf %s, want the newest readable one %s", got, want)
	}
	for _, host := range []string{"lost.example.com", "dangling.example.com"} {
		if _, err := w.dial(host); !isAlert(err, 112) {
			t.Errorf("%s: got %v, want alert unrecognized_name", host, err)
		}
	}
	if got := w.edge.Status().Damaged; got != 3 {
		t.Errorf("got %d damaged, want 3", got)
	}
}

// TestUnavailableWhileApplying: a change that needs a read which fails is applied
// later, and not counted as applied before.
func TestUnavailableWhileApplying(t *testing.T) {
	w, f := newFaultyWorld(t)
	c := w.certificate(w.leaf([]string{"a.example.com"}))
	f.set(func() { f.read[c.ID] = lacre.ErrUnavailable })
	var revision int64
	w.edgeless(func() { revision = w.domain("a.example.com", []*lacre.Certificate{c}).Revision })
	eventually(t, "the watch to be tried again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.watches > 2
	})
	if got := w.edge.Status().Revision; got >= revision {
		t.Errorf("got revision %d, want less than %d, which cannot be applied", got, revision)
	}
	f.set(func() { delete(f.read, c.ID) })
	w.applied(revision)
	w.connect("a.example.com")
}

// TestRestoredStore: after a restore the feed is older than the edge, and numbers are
// given out again. The feed is right.
func TestRestoredStore(t *testing.T) {
	w, f := newFaultyWorld(t)
	d, c := w.site("a.example.com")
	w.rotate(c, w.leaf([]string{"a.example.com"}))
	future := *d
	future.MinTLS, future.Revision = "TLSv1.3", 1<<40
	f.set(func() { // the edge saw a later domain and another version 3
		lost := w.version(c.ID, 3, w.leaf([]string{"a.example.com"}))
		f.change = func(c lacre.Change) (lacre.Change, error) {
			return lacre.Change{Revision: 1 << 40, Put: []lacre.Record{&future, lost}}, nil
		}
	})
	w.edgeless(func() { w.store(&lacre.Project{ID: lacre.NewID(), Name: "any"}) })
	eventually(t, "the edge to be in the future", func() bool { return w.edge.Status().Revision == 1<<40 })
	if _, err := w.dial("a.example.com", tls12); err == nil {
		t.Fatal("the future domain is not served")
	}
	next := w.leaf([]string{"a.example.com"})
	f.set(func() { f.change = nil })
	w.edgeless(func() { w.rotate(c, next) }) // version 3 of the store
	f.endWatch(lacre.ErrCompacted)
	eventually(t, "the edge to believe the store", func() bool { return w.edge.Status().Revision < 1<<40 })
	if got, want := w.serial("a.example.com", tls12), next.Cert.SerialNumber.String(); got != want {
		t.Errorf("got leaf %s, want %s", got, want)
	}
}

// TestHostClaimedTwice: the oldest domain wins in whatever order they come, and the
// next takes over when it goes.
func TestHostClaimedTwice(t *testing.T) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		w := newWorld(t, func(c *edge.Config) { c.Instance = "" })
		host := lacre.NewID() + ".example.com" // this edge serves what other tests left, too
		leaves := [2]string{}
		domains := [2]*lacre.Domain{}
		for _, i := range order {
			leaf := w.leaf([]string{host})
			leaves[i] = leaf.Cert.SerialNumber.String()
			domains[i] = w.domain(host, []*lacre.Certificate{w.certificate(leaf)}, func(d *lacre.Domain) {
				d.InstanceID = lacre.NewID()
				d.Created = time.Unix(int64(1000+i), 0)
			})
		}
		if got := w.serial(host); got != leaves[0] {
			t.Errorf("in order %v: the younger domain is served", order)
		}
		w.commit(lacre.Tx{Delete: []lacre.Record{domains[0]}})
		if got := w.serial(host); got != leaves[1] {
			t.Error("the older domain went, and the younger one is not served")
		}
		w.commit(lacre.Tx{Delete: []lacre.Record{domains[1]}})
		if _, err := w.dial(host); !isAlert(err, 112) {
			t.Errorf("both went: got %v, want alert unrecognized_name", err)
		}
	}
}

func TestOtherInstancesAreNotServed(t *testing.T) {
	w := newWorld(t)
	w.site("a.example.com", func(d *lacre.Domain) { d.InstanceID = lacre.NewID() })
	if _, err := w.dial("a.example.com"); !isAlert(err, 112) {
		t.Errorf("got %v, want alert unrecognized_name", err)
	}
}

// TestBindingCannotReachAnotherProject even if a record says so.
func TestBindingCannotReachAnotherProject(t *testing.T) {
	w := newWorld(t)
	_, mine := w.site("mine.example.com")
	theirs := lacre.NewID()
	w.store(&lacre.Project{ID: theirs, Name: theirs})
	w.domain("theirs.example.com", []*lacre.Certificate{mine}, func(d *lacre.Domain) { d.ProjectID = theirs })
	if _, err := w.dial("theirs.example.com"); !isAlert(err, 112) {
		t.Errorf("got %v, want alert unrecognized_name", err)
	}
}

func TestNewWantsItsParts(t *testing.T) {
	if _, err := edge.New(edge.Config{}); err == nil {
		t.Error("an edge without a feed was made")
	}
}
