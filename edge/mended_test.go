package edge

import (
	"errors"
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
