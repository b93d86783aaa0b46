package main

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 2, 3}), 0)
	require.True(t, math.IsNaN(median(nil)))
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	var values []float64
	for i := range 200 {
		values = append(values, float64(200-i)) // 200 to 1, unsorted
	}
	require.InDelta(t, 100, percentile(values, 0.5), 0)
	require.InDelta(t, 198, percentile(values, 0.99), 0)
	require.InDelta(t, 200, percentile(values, 1), 0)
	require.InDelta(t, 1, percentile(values, 0), 0)
	require.InDelta(t, 200, values[0], 0, "the argument must not be sorted")
	require.True(t, math.IsNaN(percentile(nil, 0.5)))
}

func TestRatiosCompareTheSameRound(t *testing.T) {
	t.Parallel()
	require.Equal(t, []float64{2, 5}, ratios([]float64{4, 10}, []float64{2, 2, 7}))
}
