package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func upTo(n int) []float64 {
	var all []float64
	for i := n; i > 0; i-- { // falling, so that sorting matters
		all = append(all, float64(i))
	}
	return all
}

func TestSummarise(t *testing.T) {
	for name, test := range map[string]struct {
		values []float64
		want   Summary
	}{
		"none":      {nil, Summary{}},
		"one":       {[]float64{7}, Summary{N: 1, Min: 7, Median: 7, P99: 7, Max: 7}},
		"two":       {[]float64{4, 2}, Summary{N: 2, Min: 2, Median: 3, P99: 4, Max: 4}},
		"odd":       {[]float64{9, 1, 5}, Summary{N: 3, Min: 1, Median: 5, P99: 9, Max: 9}},
		"hundred":   {upTo(100), Summary{N: 100, Min: 1, Median: 50.5, P99: 99, Max: 100}},
		"thousand":  {upTo(1000), Summary{N: 1000, Min: 1, Median: 500.5, P99: 990, Max: 1000}},
		"all equal": {[]float64{3, 3, 3, 3}, Summary{N: 4, Min: 3, Median: 3, P99: 3, Max: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, summarise(test.values)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSummariseKeepsTheOrderOfItsInput(t *testing.T) {
	values := []float64{3, 1, 2}
	summarise(values)
	if diff := cmp.Diff([]float64{3, 1, 2}, values); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestQuantile(t *testing.T) {
	sorted := []float64{10, 20, 30, 40}
	for _, test := range []struct{ q, want float64 }{{0, 10}, {0.25, 10}, {0.26, 20}, {0.5, 20}, {0.75, 30}, {0.99, 40}, {1, 40}} {
		if got := quantile(sorted, test.q); got != test.want {
			t.Errorf("quantile %v: got %v, want %v", test.q, got, test.want)
		}
	}
}

func TestRatio(t *testing.T) {
	if got := ratio(3, 2); got != 1.5 {
		t.Errorf("got %v, want 1.5", got)
	}
	if got := ratio(3, 0); got != 0 {
		t.Errorf("of nothing: got %v, want 0", got)
	}
}
