package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFigureIsPrintedAsOneLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		figure Figure
		want   string
	}{
		{
			compared("throughput", []float64{1.5, 1.12, 1.1}, atLeast(2), "1,400 orders/s against 1,250"),
			"throughput 1.12 times (1,400 orders/s against 1,250; median of 3, range 1.10 to 1.50), target ≥ 2: missed",
		},
		{measured("latency_p50", 9.96, "ms", atMost(10), "100 orders/s"), "latency_p50 9.96 ms (100 orders/s), target ≤ 10: reached"},
		{compared("drain", []float64{1.5}, atLeast(1.5), "one round"), "drain 1.50 times (one round), target ≥ 1.5: reached"},
		{measured("cpu_per_order", 0.46, "times", atMost(0.45), ""), "cpu_per_order 0.460 times, target ≤ 0.45: missed"},
	} {
		require.Equal(t, test.want, test.figure.String())
	}
}

func TestFigureKeepsTheOrderOfItsRuns(t *testing.T) {
	t.Parallel()
	runs := []float64{3, 1, 2}
	f := compared("x", runs, atLeast(1), "")
	require.InDelta(t, 2, f.Value, 0)
	require.Equal(t, []float64{3, 1, 2}, f.Runs)
	require.Equal(t, []float64{3, 1, 2}, runs)
}

func TestTargetIncludesItsBound(t *testing.T) {
	t.Parallel()
	require.True(t, atLeast(2).Met(2))
	require.False(t, atLeast(2).Met(1.99))
	require.True(t, atMost(40).Met(40))
	require.False(t, atMost(40).Met(40.1))
	require.InDelta(t, 0.5, atLeast(2).Attained(1), 1e-9)
	require.InDelta(t, 0.5, atMost(40).Attained(80), 1e-9)
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]string{
		0: "0.000", 0.8996: "0.900", 0.8994: "0.899", 0.9996: "1.00", 9.994: "9.99", 9.996: "10.0", 45.67: "45.7", 99.94: "99.9", 99.96: "100", 1234.5: "1,235", 1234567: "1,234,567",
	} {
		require.Equal(t, want, number(value))
	}
}
