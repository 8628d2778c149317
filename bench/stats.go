package main

import (
	"math"
	"slices"
)

// Summary describes a set of measurements in one unit.
type Summary struct {
	N      int     `json:"n"`
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

// summarise describes values. Of none it is the zero Summary, with N 0.
func summarise(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Summary{
		N: len(sorted), Min: sorted[0], Max: sorted[len(sorted)-1],
		Median: median(sorted), P99: quantile(sorted, 0.99),
	}
}

// quantile is the smallest of the sorted values that at least the share q of all values
// do not exceed (the nearest rank): always a value that was really measured. Of fewer
// than 100 values the 0.99 quantile is the largest.
func quantile(sorted []float64, q float64) float64 {
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// median of sorted values; of an even number, the mean of the middle two.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// ratio is a/b, and 0 when there is nothing to divide by.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
