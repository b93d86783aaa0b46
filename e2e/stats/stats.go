// Package stats summarizes measurements.
package stats

import (
	"cmp"
	"math"
	"slices"
)

// Percentile returns the smallest value that at least the fraction p of the values does not
// exceed (nearest rank), and false if there is none.
func Percentile[T cmp.Ordered](values []T, p float64) (v T, ok bool) {
	if len(values) == 0 {
		return v, false
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1], true
}
