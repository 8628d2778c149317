package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lacre"
	"lacre/store"
)

// collect takes n changes from a watch.
func collect(t *testing.T, s *store.Store, after int64, n int) []lacre.Change {
	t.Helper()
	var all []lacre.Change
	for c, err := range s.Watch(soon(t), after) {
		if err != nil {
			t.Fatalf("Watch: %v", err)
		}
		if all = append(all, c); len(all) == n {
			break
		}
	}
	if len(all) != n {
		t.Fatalf("got %d changes, want %d", len(all), n)
	}
	return all
}

func testWatch(t *testing.T, s *store.Store) {
	p := id("watch")
	d := domain(p, "watched.example")
	v := version(p, id("c"), 1)
	first := commit(t, s, lacre.Tx{Audit: auditOf(p), Put: []lacre.Record{d, v,
		&lacre.Host{ProjectID: p, InstanceID: "i", Host: d.Host, DomainID: d.ID}}})
	second := commit(t, s, lacre.Tx{Audit: auditOf(p), Put: []lacre.Record{&lacre.Instance{ProjectID: p, ID: "i"}}})
	third := commit(t, s, lacre.Tx{Audit: auditOf(p), Delete: []lacre.Record{revised(d, first)}, Forget: []lacre.Record{v}})
	want := []lacre.Change{
		{Revision: first, Put: []lacre.Record{revised(d, first), revised(v, first)}},
		{Revision: second},
		{Revision: third, Deleted: []lacre.Record{&lacre.Domain{ProjectID: p, ID: d.ID},
			&lacre.Version{ProjectID: p, CertificateID: v.CertificateID, Number: 1}}},
	}
	got := collect(t, s, first-1, 3)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Watch (-want +got):\n%s", diff)
	}
	if got := collect(t, s, second, 1); got[0].Revision != third {
		t.Errorf("Watch after %d: got revision %d, want %d", second, got[0].Revision, third)
	}
}

// TestIdleWatchHearsTheStore: who watches a store in which nothing changes can tell it from
// one that is gone.
func TestIdleWatchHearsTheStore(t *testing.T) {
	t.Parallel()
	s := open(t)
	revision := put(t, s, domain(id("idle"), "idle.example"))
	for range 2 {
		got := collect(t, s, revision, 1)[0]
		if diff := cmp.Diff(lacre.Change{Revision: revision}, got); diff != "" {
			t.Errorf("Watch while nothing happens (-want +got):\n%s", diff)
		}
	}
}

// TestSilentWatchAsks: a cluster that tells of progress every ten minutes only is heard all
// the same, and no change is lost or comes twice when its watch is taken up again.
func TestSilentWatchAsks(t *testing.T) {
	t.Parallel()
	s := external(t, serve(t, false))
	s.SetSilence(20 * time.Millisecond)
	p := id("silent")
	revision := put(t, s, domain(p, "silent.example"))
	for _, got := range collect(t, s, revision, 3) {
		if diff := cmp.Diff(lacre.Change{Revision: revision}, got); diff != "" {
			t.Errorf("Watch while nothing happens (-want +got):\n%s", diff)
		}
	}
	if err := s.Revoke(t.Context(), "elsewhere", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	got := collect(t, s, revision, 1)[0]
	if diff := cmp.Diff(lacre.Change{Revision: revision + 1}, got); diff != "" {
		t.Errorf("Watch after a change elsewhere (-want +got):\n%s", diff)
	}
	later := make(chan int64, 1)
	time.AfterFunc(200*time.Millisecond, func() { later <- put(t, s, domain(p, "later.example")) })
	all := collect(t, s, revision+1, 30)
	last := <-later
	if i := slices.IndexFunc(all, func(c lacre.Change) bool { return c.Put != nil }); i >= 0 {
		all = all[i:]
	}
	if len(all) < 2 || len(all[0].Put) != 1 || all[0].Revision != last || all[1].Revision != last || all[1].Put != nil {
		t.Errorf("got %v, want the change at %d once, and that the store was heard", all, last)
	}
}

func TestWatchKeepsARevisionTogether(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := id("big")
	var wide []lacre.Record
	for i := range 60 {
		d := domain(p, fmt.Sprintf("%02d.example", i))
		d.Upstream = strings.Repeat("x", 4096)
		wide = append(wide, d)
	}
	before := put(t, s, &lacre.Project{ID: p})
	commit(t, s, lacre.Tx{Put: wide, Audit: auditOf(p)})
	c := collect(t, s, before, 1)[0]
	if len(c.Put) != len(wide) {
		t.Errorf("got %d of %d records of one revision in its change", len(c.Put), len(wide))
	}
}

// Writers and watchers run at once: every watcher, wherever it starts, must see every
// later revision once and in order.
func TestWatchIsCompleteAndInOrder(t *testing.T) {
	t.Parallel()
	const writers, writes = 4, 50
	s := open(t)
	p := id("order")
	start := put(t, s, &lacre.Project{ID: p})
	done := make(chan []int64, writers)
	for w := range writers {
		go func() {
			var revisions []int64
			for i := range writes {
				revision, err := s.Commit(t.Context(), lacre.Tx{Audit: auditOf(p),
					Put: []lacre.Record{domain(p, fmt.Sprintf("%d.%d.example", w, i))}})
				if err != nil {
					t.Errorf("Commit: %v", err)
				}
				revisions = append(revisions, revision)
			}
			done <- revisions
		}()
	}
	live := collect(t, s, start, writers*writes)
	want := map[int64]bool{}
	for range writers {
		for _, revision := range <-done {
			want[revision] = true
		}
	}
	last := start
	for _, c := range live {
		if c.Revision <= last || !want[c.Revision] || len(c.Put) != 1 || c.Put[0].(*lacre.Domain).Revision != c.Revision {
			t.Fatalf("after revision %d: got %+v", last, c)
		}
		last = c.Revision
	}
	for _, from := range []int{0, 1, len(live) / 2, len(live) - 1} {
		again := collect(t, s, live[from].Revision-1, len(live)-from)
		if diff := cmp.Diff(live[from:], again); diff != "" {
			t.Errorf("watching again from change %d (-live +again):\n%s", from, diff)
		}
	}
}

func firstError(ctx context.Context, s *store.Store, after int64) error {
	for _, err := range s.Watch(ctx, after) {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestWatchTellsWhenHistoryIsGone(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := id("compacted")
	first := put(t, s, domain(p, "a.example"))
	second := put(t, s, domain(p, "b.example"))
	third := put(t, s, domain(p, "c.example"))
	if err := s.CompactTo(third); err != nil {
		t.Fatal(err)
	}
	if err := firstError(soon(t), s, first); !errors.Is(err, lacre.ErrCompacted) {
		t.Errorf("watching after %d, compacted to %d: got %v, want ErrCompacted", first, third, err)
	}
	if err := firstError(soon(t), s, third+1); !errors.Is(err, lacre.ErrCompacted) {
		t.Errorf("watching after the future, as with a restored store: got %v, want ErrCompacted", err)
	}
	if got := collect(t, s, second, 1); got[0].Revision != third {
		t.Errorf("the last revision is still there: got %d, want %d", got[0].Revision, third)
	}
}

func TestWatchCarriesDamage(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := id("damage")
	d := domain(p, "a.example")
	start := put(t, s, d)
	if err := damageOf(t.Context(), s, d, []byte("\x01torn")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.KV().Put(t.Context(), "/lacre/p/x/domain/%zz", "foreign"); err != nil {
		t.Fatal(err)
	}
	put(t, s, &lacre.Certificate{ProjectID: p, ID: id("c")})
	got := collect(t, s, start, 2)
	if len(got[0].Unreadable) != 1 || len(got[0].Put) != 0 {
		t.Fatalf("got %+v, want one unreadable record", got[0])
	}
	want := &lacre.Domain{ProjectID: p, ID: d.ID}
	if diff := cmp.Diff(lacre.Record(want), got[0].Unreadable[0].Record); diff != "" {
		t.Errorf("the damaged record (-want +got):\n%s", diff)
	}
}

func TestWatchEnds(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- firstError(ctx, s, 0) }()
	time.Sleep(20 * time.Millisecond)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("a watch whose context ended: got %v, want no error", err)
	}
	go func() { ended <- firstError(t.Context(), s, 0) }()
	time.Sleep(20 * time.Millisecond)
	s.Close()
	if err := <-ended; !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("a watch whose store was closed: got %v, want ErrUnavailable", err)
	}
}
