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
)

// faulty is the real feed with faults put in.
type faulty struct {
	edge.Feed
	mu      sync.Mutex
	load    error                                    // of AllDomains
	held    chan chan struct{}                       // gets a gate once AllDomains has read everything
	read    map[string]error                         // of LatestVersions, by certificate
	stale   map[string]*lacre.Version                // LatestVersions knows nothing newer
	older   map[string]*lacre.Version                // LatestVersions falls back to it and reports damage
	crl     error                                    // of LatestRevocations
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

func (f *faulty) AllVersions(ctx context.Context, wanted func(*lacre.Certificate) bool, visit func(string, string, lacre.Latest) error) (int64, error) {
	return f.Feed.AllVersions(ctx, wanted, func(projectID, id string, l lacre.Latest) error {
		return visit(projectID, id, f.latest(id, l))
	})
}

func (f *faulty) LatestVersions(ctx context.Context, projectID string, ids []string) ([]lacre.Latest, error) {
	all, err := f.Feed.LatestVersions(ctx, projectID, ids)
	for i := range all {
		all[i] = f.latest(ids[i], all[i])
	}
	return all, err
}

// latest is what is said of a certificate, with the fault that was put in.
func (f *faulty) latest(id string, l lacre.Latest) lacre.Latest {
	f.mu.Lock()
	defer f.mu.Unlock()
	if stale := f.stale[id]; stale != nil {
		return lacre.Latest{Version: stale}
	}
	if older := f.older[id]; older != nil {
		next := &lacre.Version{ProjectID: older.ProjectID, CertificateID: id, Number: older.Number + 1}
		return lacre.Latest{Version: older, Damaged: []*lacre.UnreadableError{{Record: next, Key: "test", Err: errFault}}}
	}
	if fault := f.read[id]; fault != nil {
		return lacre.Latest{Err: fault}
	}
	return l
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
	f := &faulty{Feed: shared, read: map[string]error{}, older: map[string]*lacre.Version{}, stale: map[string]*lacre.Version{}}
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

// refused stores a version that the edge cannot serve, and waits until it says so.
func (w *world) refused(records ...lacre.Record) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.edge.Applied(ctx, w.write(lacre.Tx{Put: records})); err == nil || ctx.Err() != nil {
		w.Errorf("Applied: got %v, want that the version cannot be served", err)
	}
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
	eventually(t, "nothing to be held any more", func() bool { // a compare may hold what it is reading
		s := w.edge.Status()
		return s.Certificates == 0 && s.Sites == 0
	})
}

// TestCompareRests: a compare that takes long is not followed by the next one at once.
func TestCompareRests(t *testing.T) {
	w, f := newFaultyWorld(t, func(c *edge.Config) { c.Timeouts.Compare = time.Millisecond })
	w.site("a.example.com") // applied: the first load, which is no compare, is over
	held := make(chan chan struct{})
	f.set(func() { f.held = held })
	gate := <-held
	time.Sleep(50 * time.Millisecond)
	close(gate)
	select {
	case <-held:
		t.Error("a compare came at once after one that took 50 ms")
	case <-time.After(500 * time.Millisecond):
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
// TestDamageAtLoad: a certificate whose newest version is unreadable is served with
// the newest that can be read; one without any concerns nobody else.
// TestUnavailableWhileApplying: a change that needs a read which fails is applied
// later, and not counted as applied before.
// TestRestoredStore: after a restore the feed is older than the edge, and numbers are
// given out again. The feed is right.
// TestHostClaimedTwice: the oldest domain wins in whatever order they come, and the
// next takes over when it goes.
// TestBindingCannotReachAnotherProject even if a record says so.
