package main

import (
	"slices"
	"testing"
)

// TestStormHosts: what a storm rotates are different certificates from everywhere, of few
// and of many.
func TestStormHosts(t *testing.T) {
	for _, n := range []int{1, stormHosts - 1, stormHosts, 100_000} {
		m := &measuring{pairs: make([]pair, n)}
		hosts := m.stormHosts()
		if want := min(n, stormHosts); len(slices.Compact(slices.Sorted(slices.Values(hosts)))) != want {
			t.Errorf("of %d: got %d hosts, some of them twice, want %d different ones", n, len(hosts), want)
		}
		if last := hosts[len(hosts)-1]; last >= n || last < n-n/len(hosts)-1 {
			t.Errorf("of %d: the last host is %d, want it near the end", n, last)
		}
	}
}
