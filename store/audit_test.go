package store_test

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lacre"
	"lacre/store"
)

func auditAt(s *store.Store, t *testing.T, projectID, resource string, at time.Time) {
	t.Helper()
	commit(t, s, lacre.Tx{Audit: lacre.Audit{ProjectID: projectID, Time: at, Action: lacre.CanBind, Resource: resource}})
}

// audits are all audit rows of a project.
func audits(t *testing.T, s *store.Store, projectID string) []lacre.Audit {
	t.Helper()
	page, err := s.Audits(t.Context(), projectID, lacre.AuditQuery{Limit: 1 << 30})
	if err != nil || page.Next != "" {
		t.Fatalf("the audit of %q ends at %q: %v", projectID, page.Next, err)
	}
	return page.Audits
}

func resources(t *testing.T, s *store.Store, projectID string) []string {
	t.Helper()
	var names []string
	for _, a := range audits(t, s, projectID) {
		names = append(names, a.Resource)
	}
	return names
}

func TestAuditsComeBackWhole(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, project := range []string{"p1", ""} {
		want := lacre.Audit{ProjectID: project, Time: epoch, Action: lacre.CanBind, Resource: "certificate/c",
			Detail: "to d", UserID: "u", UserName: "ana", Source: "192.0.2.1", RequestID: "r"}
		commit(t, s, lacre.Tx{Audit: want})
		rows := audits(t, s, project)
		if len(rows) != 1 {
			t.Fatalf("project %q: got %v", project, rows)
		}
		if diff := cmp.Diff(want, rows[0], cmpopts.IgnoreFields(lacre.Audit{}, "ID")); diff != "" {
			t.Errorf("project %q (-want +got):\n%s", project, diff)
		}
	}
}

func TestAuditsAreNewestFirst(t *testing.T) {
	t.Parallel()
	s := open(t)
	auditAt(s, t, "p1", "second", epoch.Add(time.Nanosecond))
	auditAt(s, t, "p1", "first", epoch)
	auditAt(s, t, "p1", "third", epoch.AddDate(20, 0, 0))
	auditAt(s, t, "p2", "elsewhere", epoch)
	if diff := cmp.Diff([]string{"third", "second", "first"}, resources(t, s, "p1")); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	rows := audits(t, s, "p1")
	if !slices.IsSortedFunc(rows, func(a, b lacre.Audit) int { return strings.Compare(b.ID, a.ID) }) {
		t.Errorf("ids do not sort by time: %v", rows)
	}
}

// Whatever the clock does, no row replaces another: not at the same nanosecond, not a
// year back, not before 1970.
func TestAuditsSurviveTheClock(t *testing.T) {
	t.Parallel()
	now := epoch
	s, err := store.Embedded(t.Context(), store.EmbeddedConfig{Dir: t.TempDir(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, at := range []time.Time{epoch, epoch, epoch.AddDate(-1, 0, 0), epoch, epoch.AddDate(-80, 0, 0), epoch.AddDate(-80, 0, 0)} {
		now = at
		auditAt(s, t, "p1", "row", time.Time{})
	}
	if got := resources(t, s, "p1"); len(got) != 6 {
		t.Errorf("got %d rows, want 6", len(got))
	}
}

func TestAuditsWithoutRandomnessAreNotWritten(t *testing.T) {
	t.Parallel()
	s, err := store.Embedded(t.Context(), store.EmbeddedConfig{Dir: t.TempDir(), Random: bytes.NewReader(nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Commit(t.Context(), lacre.Tx{Audit: auditOf("p1")}); err == nil {
		t.Error("got success, want an error: the row could have replaced another")
	}
}

func TestPruneAudits(t *testing.T) {
	t.Parallel()
	s := open(t)
	put(t, s, &lacre.Project{ID: "p1"}, &lacre.Project{ID: "p2"}) // with a row of no project, at epoch
	var group sync.WaitGroup
	for w := range 20 { // 1,200 rows: more than one step
		group.Go(func() {
			for i := range 60 {
				auditAt(s, t, "p1", "old", epoch.Add(-time.Duration(w*60+i+1)))
			}
		})
	}
	group.Wait()
	auditAt(s, t, "p1", "new", epoch)
	auditAt(s, t, "p2", "old", epoch.Add(-1))
	if err := s.PruneAudits(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	for project, want := range map[string][]string{"p1": {"new"}, "p2": nil, "": {""}} {
		if diff := cmp.Diff(want, resources(t, s, project)); diff != "" {
			t.Errorf("left in project %q (-want +got):\n%s", project, diff)
		}
	}
	if _, err := s.Project(t.Context(), "p1"); err != nil {
		t.Errorf("the project itself: %v", err)
	}
}

func TestDamagedAuditsAreLeftOut(t *testing.T) {
	t.Parallel()
	s := open(t)
	auditAt(s, t, "p1", "good", epoch)
	for _, key := range []string{"/lacre/p/p1/audit/0000", "/lacre/p/p1/audit/zzzzzzzzzzzzzzzz0000000000000000",
		"/lacre/p/p1/audit/00000000000000000000000000000000"} {
		if _, err := s.KV().Put(t.Context(), key, "\x01damage"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"good"}, resources(t, s, "p1")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
