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
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
	"lacre/store"
)

// row is an audit row of project p1 that says when it is of.
func row(at time.Time) lacre.Audit {
	return lacre.Audit{ProjectID: "p1", Time: at, Action: lacre.CanBind, Resource: "certificate/c",
		Detail: at.Format(time.RFC3339Nano), UserID: "u", UserName: "ana", Source: "192.0.2.1", RequestID: "r"}
}

// rowsFrom are n rows of p1, a minute apart, the oldest first.
func rowsFrom(at time.Time, n int) []lacre.Audit {
	all := make([]lacre.Audit, n)
	for i := range all {
		all[i] = row(at.Add(time.Duration(i) * time.Minute))
	}
	return all
}

func putAudits(t testing.TB, s *store.Store, rows ...lacre.Audit) {
	t.Helper()
	if err := s.PutAudits(t.Context(), rows...); err != nil {
		t.Fatal(err)
	}
}

// pages reads everything that is asked for, page by page.
func pages(t *testing.T, s *store.Store, projectID string, q lacre.AuditQuery) (all []lacre.Audit, sizes []int) {
	t.Helper()
	for {
		page, err := s.Audits(t.Context(), projectID, q)
		if err != nil {
			t.Fatal(err)
		}
		all, sizes = append(all, page.Audits...), append(sizes, len(page.Audits))
		if page.Next == "" {
			return all, sizes
		}
		if q.After != "" && page.Next >= q.After {
			t.Fatalf("the page after %s ends at %s", q.After, page.Next)
		}
		q.After = page.Next
	}
}

// Pages neither lose nor repeat a row, of whatever size they are: over days, and over many
// rows of one nanosecond.
func TestAuditsPageByPage(t *testing.T) {
	t.Parallel()
	s := open(t)
	putAudits(t, s, rowsFrom(epoch, 60)...)
	putAudits(t, s, rowsFrom(epoch.AddDate(0, 0, -3), 3)...)
	for range 90 {
		putAudits(t, s, row(epoch.AddDate(0, 0, -10)))
	}
	for range 40 { // before 1970 and at its beginning are one
		putAudits(t, s, row(time.Unix(0, 0)))
	}
	const n = 60 + 3 + 90 + 40
	want := audits(t, s, "p1")
	if len(want) != n {
		t.Fatalf("got %d rows, want %d", len(want), n)
	}
	for _, limit := range []int{1, 7, 31, 32, 33, n} {
		got, sizes := pages(t, s, "p1", lacre.AuditQuery{Limit: limit})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
		}
		if wanted := (n + limit - 1) / limit; len(sizes) != wanted {
			t.Errorf("got %d pages of %d, want %d", len(sizes), limit, wanted)
		}
	}
}

func TestAuditsOfOneResource(t *testing.T) {
	t.Parallel()
	s := open(t)
	others := rowsFrom(epoch, 20_050) // more than are passed over for one page
	mine := []lacre.Audit{row(epoch.Add(-time.Hour)), row(epoch.Add(30 * time.Second)), row(epoch.AddDate(1, 0, 0))}
	for i := range mine {
		mine[i].Resource = "certificate/mine"
	}
	putAudits(t, s, append(others, mine...)...)
	got, sizes := pages(t, s, "p1", lacre.AuditQuery{Resource: "certificate/mine", Limit: 10})
	if len(got) != 3 || got[0].Detail != mine[2].Detail || got[1].Detail != mine[1].Detail || got[2].Detail != mine[0].Detail {
		t.Errorf("got %v, want the rows of the one resource", got)
	}
	if diff := cmp.Diff([]int{1, 2}, sizes); diff != "" {
		t.Errorf("rows in each page (-want +got):\n%s", diff)
	}
	if page, err := s.Audits(t.Context(), "p1", lacre.AuditQuery{Resource: "certificate", Limit: 10}); err != nil || len(page.Audits) != 0 {
		t.Errorf("a part of a name: got %v, %v; want none", page.Audits, err)
	}
}

func TestAuditsOfOneProject(t *testing.T) {
	t.Parallel()
	s := open(t)
	other := row(epoch)
	other.ProjectID = "p2"
	outside := row(epoch)
	outside.ProjectID = ""
	putAudits(t, s, row(epoch), other, outside)
	for _, project := range []string{"p1", "p2", ""} {
		if rows := audits(t, s, project); len(rows) != 1 || rows[0].ProjectID != project {
			t.Errorf("project %q: got %v, want its own row", project, rows)
		}
	}
	if page, err := s.Audits(t.Context(), "p1", lacre.AuditQuery{After: "7" + strings.Repeat("f", 31), Limit: 10}); err != nil || len(page.Audits) != 1 {
		t.Errorf("after the end of all time: got %v, %v", page, err)
	}
	last := audits(t, s, "p1")[0].ID
	for _, project := range []string{"p", "p1/audit", "p2", strings.Repeat("x", 2000)} {
		page, err := s.Audits(t.Context(), project, lacre.AuditQuery{After: strings.Repeat("7f", 16), Limit: 10})
		if own := project == "p2"; err != nil || len(page.Audits) != map[bool]int{true: 1}[own] {
			t.Errorf("project %.10q: got %v, %v", project, page, err)
		}
	}
	if page, err := s.Audits(t.Context(), "p1", lacre.AuditQuery{After: last, Limit: 10}); err != nil || len(page.Audits) != 0 {
		t.Errorf("after the last row: got %v, %v; want none", page.Audits, err)
	}
}

func TestAuditsAfterWhatIsNoID(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, after := range []string{"x", "8" + strings.Repeat("0", 31), "7" + strings.Repeat("A", 31), strings.Repeat("0", 34), strings.Repeat("g", 32)} {
		if _, err := s.Audits(t.Context(), "p1", lacre.AuditQuery{After: after, Limit: 10}); !errors.Is(err, store.ErrBadIdentity) {
			t.Errorf("after %q: got %v, want ErrBadIdentity", after, err)
		}
	}
}

func TestAuditsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	s := open(t)
	putAudits(t, s, row(epoch))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("enough"))
	if _, err := s.Audits(ctx, "p1", lacre.AuditQuery{Limit: 10}); !errors.Is(err, lacre.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

// Who has read a page of a day goes on right after it, also when the day is packed meanwhile by
// a node whose clock is half an hour ahead. It is not packed before an hour has passed.
func TestAuditsReadOverMidnight(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	putAudits(t, s, rowsFrom(midnight.Add(-12*time.Hour), 600)...)
	s.SetNow(midnight)
	want := audits(t, s, "p1")
	first, err := s.Audits(t.Context(), "p1", lacre.AuditQuery{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ packer, reader time.Duration }{{time.Hour - 1, 0}, {time.Hour, 30 * time.Minute}} {
		s.SetNow(midnight.Add(step.packer))
		if err := s.PackAudits(t.Context(), time.Time{}); err != nil {
			t.Fatal(err)
		}
		if got, packed := len(auditKeys(t, s, "p1")), step.packer >= time.Hour; packed != (got < 600) {
			t.Errorf("%v after midnight: got %d keys, want packed %t", step.packer, got, packed)
		}
		s.SetNow(midnight.Add(step.reader))
		rest, _ := pages(t, s, "p1", lacre.AuditQuery{Limit: 10, After: first.Next})
		if got := slices.Concat(first.Audits, rest); !cmp.Equal(want, got) {
			t.Errorf("packed at %v, read at %v after midnight: got %d rows, want the 600", step.packer, step.reader, len(got))
		}
	}
}

// readSizes notes how many values each read brings.
type readSizes struct {
	clientv3.KV
	all []int
}

func (r *readSizes) Get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	found, err := r.KV.Get(ctx, key, options...)
	if err == nil {
		r.all = append(r.all, len(found.Kvs))
	}
	return found, err
}

// TestLargeAuditsAreReadFewAtATime: what one read holds is bounded by bytes, and by the number of
// packs, which may be larger than what was before them.
func TestLargeAuditsAreReadFewAtATime(t *testing.T) {
	t.Parallel()
	s := openAudits(t)
	put := func(n, size int) {
		t.Helper()
		all := rowsFrom(epoch, n)
		for i := range all {
			all[i].Detail = strings.Repeat("x", size)
		}
		for some := range slices.Chunk(all, 10) {
			putAudits(t, s, some...)
		}
	}
	want := func(sizes ...int) {
		t.Helper()
		r := &readSizes{KV: s.KV()}
		s.Wrap(func(clientv3.KV) clientv3.KV { return r })
		audits(t, s, "p1")
		if s.Wrap(func(clientv3.KV) clientv3.KV { return r.KV }); !slices.Equal(r.all, sizes) {
			t.Errorf("got reads of %v values, want %v", r.all, sizes)
		}
	}
	put(130, 90_000)
	packAudits(t, s)
	putAudits(t, s, rowsFrom(epoch.Add(4*time.Hour), 20)...)
	want(32, 32, 21, 0) // 65 packs of two rows; no other day
	putAudits(t, s, rowsFrom(epoch.Add(5*time.Hour), 13)...)
	want(32, 64, 2, 0)
	putAudits(t, s, rowsFrom(epoch.AddDate(0, 0, 1), 40)...)
	want(32, 8, 32, 64, 2, 0)
	if err := s.PruneAudits(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	put(90, 150_000) // none of them fits into a pack with another
	want(32, 55, 3, 0)
}

// TestAuditsOfABusyDay: what a page costs does not depend on how much of the day is newer.
func TestAuditsOfABusyDay(t *testing.T) {
	t.Parallel()
	s := open(t)
	m := meddle(s)
	all := rowsFrom(time.Now(), 3000)
	for i := range all { // of one day, which is today
		all[i].Time = time.Now().Truncate(24 * time.Hour).Add(time.Duration(i) * time.Millisecond)
	}
	putAudits(t, s, all...)
	page, err := s.Audits(t.Context(), "p1", lacre.AuditQuery{Limit: 2990})
	if err != nil {
		t.Fatal(err)
	}
	if n := m.gets.Swap(0); n > 10 {
		t.Errorf("got %d reads for 2,990 rows, want 10 at most", n)
	}
	if page, err = s.Audits(t.Context(), "p1", lacre.AuditQuery{Limit: 20, After: page.Next}); err != nil || len(page.Audits) != 10 {
		t.Fatalf("got %d rows at the end, %v, want 10", len(page.Audits), err)
	}
	if n := m.gets.Load(); n > 3 {
		t.Errorf("got %d reads for the last ten rows, want 3 at most", n)
	}
}
