package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
	"lacre/store"
)

var later = epoch.AddDate(1, 0, 0)

// packAudits packs all that is stored.
func packAudits(t testing.TB, s *store.Store) {
	t.Helper()
	s.SetNow(later)
	if err := s.PackAudits(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// auditKeys are the keys of a project's audit, and what is stored there.
func auditKeys(t testing.TB, s *store.Store, projectID string) (keys []string) {
	t.Helper()
	for key := range auditValues(t, s, projectID) {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func auditValues(t testing.TB, s *store.Store, projectID string) map[string][]byte {
	t.Helper()
	prefix := "/lacre/p/" + projectID + "/audit/"
	if projectID == "" {
		prefix = "/lacre/iam/audit/"
	}
	found, err := s.KV().Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, kv := range found.Kvs {
		all[string(kv.Key)] = kv.Value
	}
	return all
}

// openAudits opens a store with the projects p1 and p2, whose rows of no project are gone.
func openAudits(t *testing.T) *store.Store {
	t.Helper()
	s := open(t)
	put(t, s, &lacre.Project{ID: "p1"}, &lacre.Project{ID: "p2"})
	if err := s.PruneAudits(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	return s
}

func wantAudits(t *testing.T, s *store.Store, projectID string, want []lacre.Audit) {
	t.Helper()
	if diff := cmp.Diff(want, audits(t, s, projectID)); diff != "" {
		t.Errorf("the audit of %q (-want +got):\n%s", projectID, diff)
	}
}

// Whoever reads packed rows reads what was written, with the same ids, in the same order and
// pages; packing again changes nothing.
func TestPackedAuditsReadAsBefore(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	rows := append(rowsFrom(epoch, 1_200), rowsFrom(epoch.AddDate(0, 0, -9), 40)...) // of three days
	for _, a := range slices.Clone(rows[:70]) {
		for _, a.ProjectID = range []string{"p2", ""} {
			rows = append(rows, a)
		}
	}
	putAudits(t, s, rows...)
	want := map[string][]lacre.Audit{"p1": audits(t, s, "p1"), "p2": audits(t, s, "p2"), "": audits(t, s, "")}
	packAudits(t, s)
	for project, keys := range map[string]int{"p1": 2 + 1 + 1, "p2": 1, "": 1} { // 960, 240, 40; 70; 70 rows
		if got := auditKeys(t, s, project); len(got) != keys {
			t.Errorf("project %q: got %d keys, want %d", project, len(got), keys)
		}
		wantAudits(t, s, project, want[project])
	}
	before, _ := s.Stats(t.Context())
	packAudits(t, s)
	if after, err := s.Stats(t.Context()); err != nil || after.Revision != before.Revision {
		t.Errorf("packing again: got revision %d after %d, %v; want no change", after.Revision, before.Revision, err)
	}
	for _, limit := range []int{7, 499, 500, 501, 1240} {
		got, sizes := pages(t, s, "p1", lacre.AuditQuery{Limit: limit})
		if diff := cmp.Diff(want["p1"], got); diff != "" || len(sizes) != (1240+limit-1)/limit {
			t.Errorf("%d pages of %d (-want +got):\n%s", len(sizes), limit, diff)
		}
	}
	got, _ := pages(t, s, "p1", lacre.AuditQuery{Resource: "certificate/other", Limit: 10})
	if len(got) != 0 {
		t.Errorf("got %v of another resource", got)
	}
}

// Days are those of UTC, and packed when they are over.
func TestAuditsArePackedByDays(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	for _, d := range []time.Duration{-25 * time.Hour, -25*time.Hour + 1, -2, -1, 0, 1, 24*time.Hour - 1} {
		putAudits(t, s, row(midnight.Add(d)))
	}
	want := audits(t, s, "p1")
	for _, step := range []struct {
		since, ended time.Time // an hour before it is packed
		keys         int
	}{
		{time.Time{}, midnight.Add(-24*time.Hour - 1), 7},
		{midnight.Add(-time.Hour), midnight.Add(-1), 7},                         // the day before has not ended, the one before that is passed by
		{midnight.Add(-time.Hour).In(time.FixedZone("", 9000)), midnight, 6},    // now it has
		{midnight.Add(-23 * time.Hour), midnight.Add(24*time.Hour - 1), 6},      // nor has this one
		{time.Time{}, midnight.Add(time.Hour).In(time.FixedZone("", -9000)), 5}, // the oldest
		{midnight, midnight.Add(24 * time.Hour), 3},
	} {
		s.SetNow(step.ended.Add(time.Hour))
		if err := s.PackAudits(t.Context(), step.since); err != nil {
			t.Fatal(err)
		}
		if got := auditKeys(t, s, "p1"); len(got) != step.keys {
			t.Errorf("packed from %v, of what ended by %v: got %d keys, want %d", step.since, step.ended, len(got), step.keys)
		}
		wantAudits(t, s, "p1", want)
	}
}

// A pack has a bounded size, and what is too large for one stays alone.
func TestLargeAuditsArePackedApart(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	for i, size := range []int{10, 300_000, 100_000, 100_000, 100_000, 10, 10, 270_000} {
		a := row(epoch.Add(time.Duration(i) * time.Minute))
		a.Detail = strings.Repeat("x", size)
		putAudits(t, s, a)
	}
	want := audits(t, s, "p1")
	packAudits(t, s)
	if got := auditKeys(t, s, "p1"); len(got) != 5 { // from the newest: 270,000; four; 100,000; 300,000; 10
		t.Errorf("got %d keys, want 5", len(got))
	}
	wantAudits(t, s, "p1", want)
}

// Rows that came late are where they belong, packed or not, and whatever page they are on.
func TestLateAudits(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	putAudits(t, s, rowsFrom(epoch, 600)...)
	for _, late := range [][]time.Duration{{2, 3}, {30, 900, 1900, 35_999}, {1, 31, 32}, {-60}} {
		packAudits(t, s)
		for _, seconds := range late {
			putAudits(t, s, row(epoch.Add(seconds*time.Second)))
		}
		want := audits(t, s, "p1")
		if !slices.IsSortedFunc(want, func(a, b lacre.Audit) int { return strings.Compare(b.ID, a.ID) }) {
			t.Fatal("the ids are not in order")
		}
		for _, limit := range []int{1, 13, 500} {
			if got, _ := pages(t, s, "p1", lacre.AuditQuery{Limit: limit}); !cmp.Equal(want, got) {
				t.Errorf("pages of %d differ from the whole", limit)
			}
		}
	}
	if got := audits(t, s, "p1"); len(got) != 610 {
		t.Errorf("got %d rows, want 610", len(got))
	}
}

// TestAuditsAgainstAModel writes, packs and reads in a random order, beside a plain list.
func TestAuditsAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		s, random := openAudits(t), rand.New(rand.NewPCG(seed, 2))
		written := map[string]bool{}
		for round := range 60 {
			s.SetNow(epoch.Add(time.Duration(round) * 80 * time.Minute))
			var some []lacre.Audit
			for range random.IntN(30) {
				a := row(epoch.Add(time.Duration(random.Int64N(int64(60 * time.Hour)))))
				some, written[a.Detail] = append(some, a), true
			}
			putAudits(t, s, some...)
			if random.IntN(3) == 0 {
				if err := s.PackAudits(t.Context(), time.Time{}); err != nil {
					t.Fatal(err)
				}
			}
			got, _ := pages(t, s, "p1", lacre.AuditQuery{Limit: 1 + random.IntN(400)})
			for i, a := range got {
				if !written[a.Detail] || i > 0 && a.ID >= got[i-1].ID {
					t.Fatalf("seed %d: row %d, %s of %s, is none or not in order", seed, i, a.ID, a.Detail)
				}
			}
			if len(got) != len(written) {
				t.Fatalf("seed %d: got %d rows, want %d", seed, len(got), len(written))
			}
		}
	}
}

// meddler does something before the next read or transaction of a store.
type meddler struct {
	clientv3.KV
	mu         sync.Mutex
	read, txn  func()
	afterReads int // reads that are let through
	gets       atomic.Int64
}

func meddle(s *store.Store) *meddler {
	m := &meddler{}
	s.Wrap(func(kv clientv3.KV) clientv3.KV { m.KV = kv; return m })
	return m
}

func (m *meddler) take(f *func()) func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	do := *f
	if *f = nil; do == nil {
		do = func() {}
	}
	return do
}

func (m *meddler) Get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	m.gets.Add(1)
	if m.afterReads--; m.afterReads < 0 {
		m.take(&m.read)()
	}
	return m.KV.Get(ctx, key, options...)
}

func (m *meddler) Txn(ctx context.Context) clientv3.Txn {
	m.take(&m.txn)()
	return m.KV.Txn(ctx)
}

// A page is of one revision: rows that are packed while it is read are on it once.
func TestAuditsPackedWhileTheyAreRead(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	putAudits(t, s, rowsFrom(epoch, 100)...)
	want := audits(t, s, "p1")
	m := meddle(s)
	m.afterReads, m.read = 1, func() { packAudits(t, s) }
	wantAudits(t, s, "p1", want)
	if got := auditKeys(t, s, "p1"); len(got) != 1 {
		t.Errorf("got %d keys, want one pack: nothing was packed meanwhile", len(got))
	}
}

// Two nodes pack one cluster, and rows come late: whatever happens between the reading of a
// run and its packing, nothing is lost and nothing is there twice.
func TestAuditsWrittenWhileTheyArePacked(t *testing.T) {
	t.Parallel()
	c := serve(t, false)
	mine, theirs := external(t, c), external(t, c)
	put(t, mine, &lacre.Project{ID: "p1"})
	m := meddle(mine)
	at := func(minutes time.Duration) lacre.Audit { return row(epoch.Add(minutes * time.Minute)) }
	for i, test := range []struct {
		name      string
		meanwhile func()
		more      int // rows that are there afterwards
		keys      int
	}{
		{"nothing", func() {}, 0, 1},
		{"a late row within", func() { putAudits(t, theirs, at(10)) }, 1, 21},
		{"a newer row", func() { putAudits(t, theirs, at(90)) }, 1, 2},
		{"an older row", func() { putAudits(t, theirs, at(-90)) }, 1, 2},
		{"another packer", func() { packAudits(t, theirs) }, 0, 1},
		{"a newer row and another packer", func() { putAudits(t, theirs, at(90)); packAudits(t, theirs) }, 1, 1},
		{"an older row and another packer", func() { putAudits(t, theirs, at(-90)); packAudits(t, theirs) }, 1, 1},
	} {
		if err := mine.PruneAudits(t.Context(), later); err != nil {
			t.Fatal(err)
		}
		putAudits(t, mine, rowsFrom(epoch.Add(time.Second), 20)...)
		want := audits(t, mine, "p1")
		m.txn = test.meanwhile
		packAudits(t, mine)
		if got := auditKeys(t, mine, "p1"); len(got) != test.keys {
			t.Errorf("%d, %s: got %d keys, want %d", i, test.name, len(got), test.keys)
		}
		got := audits(t, mine, "p1")
		got = slices.DeleteFunc(got, func(a lacre.Audit) bool {
			return a.Time.Nanosecond() == epoch.Nanosecond() && a.Time.Second() == epoch.Second()
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		packAudits(t, mine)
		if got := audits(t, theirs, "p1"); len(got) != 20+test.more {
			t.Errorf("%s, and packed again: got %d rows, want %d", test.name, len(got), 20+test.more)
		}
	}
}

// Several packers at once, with rows that are written meanwhile, into the past too.
func TestManyPackers(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	putAudits(t, s, rowsFrom(epoch.Add(time.Second), 700)...)
	s.SetNow(later)
	var group sync.WaitGroup
	for n := range 3 {
		group.Go(func() {
			for i := range 40 {
				if err := s.PutAudits(t.Context(), row(epoch.Add(time.Duration(i*15)*time.Minute+time.Duration(n)*time.Hour))); err != nil {
					t.Error(err)
				}
				if err := s.PackAudits(t.Context(), time.Time{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got, _ := pages(t, s, "p1", lacre.AuditQuery{Limit: 100}); len(got) != 700+3*40 {
		t.Errorf("got %d rows, want %d", len(got), 700+3*40)
	}
}

func TestPackingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	putAudits(t, s, rowsFrom(epoch, 1_500)...)
	want := audits(t, s, "p1")
	ctx, cancel := context.WithCancel(t.Context())
	m := meddle(s)
	m.txn = func() { m.txn = cancel }
	s.SetNow(later)
	if err := s.PackAudits(ctx, time.Time{}); err == nil || ctx.Err() == nil {
		t.Errorf("got %v, want that packing was ended", err)
	}
	if got := len(auditKeys(t, s, "p1")); got < 400 {
		t.Errorf("got %d keys, want that most is not packed", got)
	}
	wantAudits(t, s, "p1", want)
}

// A store that cannot write packs nothing, and says so.
func TestPackingFaultsBothWays(t *testing.T) {
	t.Parallel()
	for fault, keys := range map[fault]int{lost: 30, deaf: 1} {
		s, f := withFaults(t)
		put(t, s, &lacre.Project{ID: "p1"})
		putAudits(t, s, rowsFrom(epoch, 30)...)
		want := audits(t, s, "p1")
		f.next.Store(int32(fault))
		s.SetNow(later)
		if err := s.PackAudits(t.Context(), time.Time{}); !errors.Is(err, lacre.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
		if got := auditKeys(t, s, "p1"); len(got) != keys {
			t.Errorf("got %d keys, want %d", len(got), keys)
		}
		wantAudits(t, s, "p1", want)
		packAudits(t, s)
		wantAudits(t, s, "p1", want)
	}
	s := openAudits(t)
	putAudits(t, s, rowsFrom(epoch, 3)...)
	s.SetReserve(1 << 62)
	s.SetNow(later)
	if err := s.PackAudits(t.Context(), time.Time{}); !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("on a full disk: got %v, want ErrUnavailable", err)
	}
}

// A pack goes when its newest row is old enough.
func TestPrunePackedAudits(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	putAudits(t, s, rowsFrom(epoch, 120)...)
	putAudits(t, s, rowsFrom(epoch.AddDate(0, 0, -1), 120)...)
	packAudits(t, s)
	want := audits(t, s, "p1")
	for _, step := range []struct {
		before time.Time
		rows   int
	}{
		{epoch.AddDate(0, 0, -1).Add(119 * time.Minute), 240}, // its newest row is not older than that
		{epoch.AddDate(0, 0, -1).Add(119*time.Minute + 1), 120},
		{epoch.Add(119 * time.Minute), 120},
		{epoch.AddDate(0, 0, 1), 0},
	} {
		if err := s.PruneAudits(t.Context(), step.before); err != nil {
			t.Fatal(err)
		}
		if got := audits(t, s, "p1"); len(got) != step.rows || !cmp.Equal(got, want[:step.rows:step.rows]) && step.rows > 0 {
			t.Errorf("before %v: got %d rows, want the newest %d", step.before, len(got), step.rows)
		}
	}
}

// What packing deletes is nothing to an edge, and the copy stays exact.
func TestPackingIsNothingToAnEdge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	copied(t, dir, func(s *store.Store) {
		start := put(t, s, estate("p1")...)
		putAudits(t, s, rowsFrom(epoch, 600)...)
		from := put(t, s, &lacre.Project{ID: "p2"})
		packAudits(t, s)
		last := commit(t, s, lacre.Tx{Audit: auditOf("p1"), Put: []lacre.Record{domain("p1", "last.test")}})
		if start >= from || last != from+4 { // two packs of p1, one of no project
			t.Errorf("got revision %d after %d, want one for each pack", last, from)
		}
		for c, err := range s.Watch(soon(t), from) {
			if err != nil {
				t.Fatal(err)
			}
			if c.Revision == last {
				break
			}
			if len(c.Put)+len(c.Deleted)+len(c.Unreadable) != 0 {
				t.Errorf("got %+v, want a change without records", c)
			}
		}
	})
	if _, ok := store.Believed(dir); !ok {
		t.Error("the copy is not believed")
	}
}

func TestPackedAuditsOutliveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openIn(t, dir)
	put(t, s, &lacre.Project{ID: "p1"})
	putAudits(t, s, rowsFrom(epoch, 40)...)
	packAudits(t, s)
	want := audits(t, s, "p1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantAudits(t, openIn(t, dir), "p1", want)
	if len(want) != 40 {
		t.Error(fmt.Sprint(len(want)) + " rows")
	}
}
