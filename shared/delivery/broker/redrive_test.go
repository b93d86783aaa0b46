package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRedriveIsDue(t *testing.T) {
	t.Parallel()
	now := time.Now()
	settled := redriver{kept: 3, last: now} // three strays, seen a moment ago
	for name, tc := range map[string]struct {
		r     redriver
		depth int
		want  bool
	}{
		"empty":                        {redriver{}, 0, false},
		"something is there at start":  {redriver{}, 1, true},
		"only the strays":              {settled, 3, false},
		"something came":               {settled, 4, true},
		"the strays were purged":       {settled, 0, false},
		"fewer, after a minute":        {redriver{kept: 3, last: now.Add(-redriveEvery)}, 1, true},
		"empty, after a minute":        {redriver{kept: 3, last: now.Add(-redriveEvery)}, 0, false},
		"a pass is in progress":        {redriver{kept: 3, last: now, todo: 1}, 3, true},
		"something came, in a backoff": {redriver{kept: 3, last: now, next: now.Add(time.Second)}, 4, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, tc.r.due(tc.depth, now))
		})
	}
}

func TestRedriveBacksOffToAMinute(t *testing.T) {
	t.Parallel()
	var r redriver
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		r.backoff()
		require.Equal(t, want*time.Second, r.wait)
	}
}

func TestGrowthIsLoggedOnceAndAtMostOnceAMinute(t *testing.T) {
	t.Parallel()
	var a alarm
	start := time.Now()
	for i, step := range []struct {
		depth int
		after time.Duration
		want  bool
	}{
		{0, 0, false},
		{1, 1, true},
		{1, 2, false},
		{5, 3, false}, // too soon
		{5, 61, true}, // made up for
		{5, 300, false},
		{2, 301, false},
		{3, 302, true},
	} {
		require.Equal(t, step.want, a.grown(step.depth, start.Add(step.after*time.Second)), "step %d", i)
	}
}
