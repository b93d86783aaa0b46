package main

import (
	"math"
	"slices"

	"gozon/e2e/stats"
)

// median returns the middle value, or the mean of the two middle values. It returns NaN if
// there is none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// percentile is [stats.Percentile], or NaN if there are no values.
func percentile(values []float64, p float64) float64 {
	if v, ok := stats.Percentile(values, p); ok {
		return v
	}
	return math.NaN()
}

// ratios divides the values of a by those of b, round by round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}

// pick returns one value of each element.
func pick[T any](all []T, value func(T) float64) []float64 {
	out := make([]float64, len(all))
	for i, v := range all {
		out[i] = value(v)
	}
	return out
}
