package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGrowthIsLoggedOnceAndAtMostOnceAMinute(t *testing.T) {
	t.Parallel()
	var a growthAlarm
	start := time.Now()
	for i, step := range []struct {
		depth int
		at    time.Duration // seconds
		want  bool
	}{
		{0, 0, false},
		{1, 1, true},
		{1, 2, false},
		{5, 3, false}, // less than a minute after the last
		{5, 61, true}, // logged late
		{5, 300, false},
		{2, 301, false},
		{3, 302, true},
	} {
		require.Equal(t, step.want, a.grown(step.depth, start.Add(step.at*time.Second)), "step %d", i)
	}
}
