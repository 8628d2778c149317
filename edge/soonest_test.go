package edge

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestSoonest: what is kept is the beginning of all, whatever the order they come in.
func TestSoonest(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, maxSeries - 1, maxSeries, maxSeries + 1, 2 * maxSeries, 5*maxSeries + 3} {
		var s soonest
		var all []ending
		for i := range n {
			of := &served{key: certificateKey{"p", strconv.Itoa(i)}}
			all = append(all, ending{time.Unix(int64(i/3), 0), of})
		}
		rand.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, e := range all {
			s.add(e.at, e.of)
		}
		s.cut()
		slices.SortFunc(all, ending.compare)
		if want := all[:min(n, maxSeries)]; !slices.Equal(s.kept, want) {
			t.Errorf("%d: got %d kept, not the %d soonest", n, len(s.kept), len(want))
		}
	}
}

func BenchmarkSoonest(b *testing.B) {
	of := &served{key: certificateKey{"p", "c"}}
	for b.Loop() {
		var s soonest
		for i := range 100_000 {
			s.add(time.Unix(int64(i), 0), of)
		}
		s.cut()
	}
}
