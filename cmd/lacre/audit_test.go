package main

import (
	"encoding/json"
	"io"
	"sync"
	"testing"
	"time"

	"lacre"
)

// A node packs the rows of days that are over, and the command goes through all pages.
func TestAuditOfANode(t *testing.T) {
	dir := t.TempDir()
	const rows = 600
	var before, all int
	t.Run("written", func(t *testing.T) {
		n := inProcess(t, dir, time.Now)
		w := visitLacre(t, dir)
		day := time.Now().UTC().AddDate(0, 0, -3).Truncate(24 * time.Hour)
		var group sync.WaitGroup
		for i := range rows {
			group.Go(func() {
				a := lacre.Audit{ProjectID: w.creds.ProjectID, Time: day.Add(time.Duration(i) * time.Minute), Action: lacre.CanBind}
				if _, err := n.store.Commit(t.Context(), lacre.Tx{Audit: a}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		before = revisionOf(t, n)
		if all = len(listed(t, dir, 10*rows)); all < rows {
			t.Errorf("got %d rows, want at least %d", all, rows)
		}
	})
	t.Run("packed", func(t *testing.T) {
		n := inProcess(t, dir, time.Now)
		for start := time.Now(); revisionOf(t, n) < before+2; time.Sleep(10 * time.Millisecond) { // two packs
			if time.Since(start) > patience {
				t.Fatalf("nothing was packed within %v", patience)
			}
		}
		seen := map[string]bool{}
		for _, text := range listed(t, dir, 10*rows) {
			seen[string(text)] = true
		}
		if len(seen) != all {
			t.Errorf("got %d rows, want the %d there were", len(seen), all)
		}
		for _, limit := range []int{1, 500, 501} {
			if got := listed(t, dir, limit); len(got) != limit {
				t.Errorf("got %d rows, want %d", len(got), limit)
			}
		}
	})
}

func revisionOf(t *testing.T, n *node) int {
	t.Helper()
	stats, err := n.store.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(stats.Revision)
}

// listed are the rows that the command lists.
func listed(t *testing.T, dir string, limit int) []json.RawMessage {
	t.Helper()
	s := &session{target: target{DataDir: dir}}
	err := s.target.complete(nil)
	if err == nil {
		s.client, err = connect(t.Context(), s.target, io.Discard)
	}
	if err != nil {
		t.Fatal(err)
	}
	rows, err := readAudits(s.projectAudits).audits(t.Context(), "", limit)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
