package main

import (
	"math/big"
	"net/http"
	"testing"
	"time"

	"lacre"
	"lacre/internal/testcert"
)

// TestClockSetBack starts a node, and starts it again a year earlier. Nothing is lost,
// everything is served, and who signed in before has to sign in again at the worst.
func TestClockSetBack(t *testing.T) {
	dir := t.TempDir()
	const host = "clock.fault.test"
	var w *world
	var s site
	var later time.Time
	long := func(n int64) *testcert.Leaf { // valid on both sides of the step
		now := time.Now()
		return w.ca.Leaf(t, []string{host}, testcert.WithSerial(big.NewInt(n)),
			testcert.WithValidity(now.Add(-time.Hour), now.AddDate(5, 0, 0)))
	}
	t.Run("a year ahead", func(t *testing.T) {
		n := inProcess(t, dir, func() time.Time { return time.Now().AddDate(1, 0, 0) })
		w = visitLacre(t, dir)
		s = w.publish(host, "", long(1))
		w.ask("PUT", "/certificates/"+s.id, s.upload(long(2)), 200)
		w.wantServed(host, 2)
		later = newestAudit(t, n, w, 5)
	})
	t.Run("today", func(t *testing.T) {
		n := inProcess(t, dir, time.Now)
		w.t = t
		w.follow(dir)
		w.wantServed(host, 2)
		a, err := w.project(http.MethodGet, "/certificates/"+s.id, nil)
		if err != nil || a.status != http.StatusOK && a.status != http.StatusUnauthorized {
			t.Errorf("with a token from the future: got %v, %v, want 200 or 401", a, err)
		}
		w.login()
		w.ask("PUT", "/certificates/"+s.id, s.upload(long(3)), 200)
		w.wantServed(host, 3)
		if got := newestAudit(t, n, w, 6); !got.Equal(later) {
			t.Errorf("got newest audit row of %v, want that of %v from before the step", got, later)
		}
	})
}

// newestAudit returns the time of the project's newest audit row, of which there must be
// as many as least, in the order of their times.
func newestAudit(t *testing.T, n *node, w *world, least int) time.Time {
	t.Helper()
	page, err := n.store.Audits(t.Context(), w.creds.ProjectID, lacre.AuditQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	rows := page.Audits
	if len(rows) < least {
		t.Fatalf("got %d audit rows, want at least %d", len(rows), least)
	}
	for i, row := range rows[1:] {
		if row.Time.After(rows[i].Time) {
			t.Errorf("audit row %d of %v is older than the next of %v", i, rows[i].Time, row.Time)
		}
	}
	return rows[0].Time
}
