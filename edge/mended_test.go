package edge

import (
	"errors"
	"fmt"
	"testing"

	"lacre"
)

// TestMended: a compare ends the damage of domains that it has not found, of what came later only
// when it is the last word, as over a store that was restored.
func TestMended(t *testing.T) {
	e, err := New(Config{Feed: silent{}, Sealer: fixed{}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.stop()
	h := e.holdings
	h.markDomain(&lacre.Domain{ID: "d", ProjectID: "p"}, errors.New("torn"), 10)
	for _, step := range []struct {
		revision int64
		last     bool
		want     int
	}{{10, false, 1}, {5, false, 1}, {10, true, 1}, {5, true, 0}} {
		h.mended(step.revision, step.last)
		if _, damaged := h.counts(); damaged != step.want {
			t.Errorf("as of %d, the last word: %t: got %d damaged, want %d", step.revision, step.last, damaged, step.want)
		}
	}
}

// TestFailuresOfVeryManyProjects: the report has a bound whatever fails, and says of nothing that
// is left out that it is served.
func TestFailuresOfVeryManyProjects(t *testing.T) {
	f := newFailures()
	for i := range 200 {
		f.domains[fmt.Sprint("d", i)], f.stale = fmt.Sprint("p", i), true
	}
	if p := f.proof(); len(p.More) != 200 || p.Unlisted != 0 {
		t.Errorf("got %d projects named, %d not, want all", len(p.More), p.Unlisted)
	}
	f.domains["d200"], f.stale = "p200", true
	p := f.proof()
	if _, fails := p.Fails("p", "c"); !fails || len(p.More) > 0 || p.Unlisted != 201 {
		t.Errorf("got %d projects named, %d not, any other fails: %t, want none, 201 and true", len(p.More), p.Unlisted, fails)
	}
}
