package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRedriveIsDue(t *testing.T) {
	t.Parallel()
	now := time.Now()
	idle := redriver{kept: 3, lastPass: now} // the last pass has just kept three messages
	for name, tc := range map[string]struct {
		r     redriver
		depth int
		want  bool
	}{
		"empty":                    {redriver{}, 0, false},
		"not empty at start":       {redriver{}, 1, true},
		"only kept messages":       {idle, 3, false},
		"a new message":            {idle, 4, true},
		"kept messages purged":     {idle, 0, false},
		"fewer after a minute":     {redriver{kept: 3, lastPass: now.Add(-redrivePassInterval)}, 1, true},
		"empty after a minute":     {redriver{kept: 3, lastPass: now.Add(-redrivePassInterval)}, 0, false},
		"pass in progress":         {redriver{kept: 3, lastPass: now, remaining: 1}, 3, true},
		"a new message in backoff": {redriver{kept: 3, lastPass: now, notBefore: now.Add(time.Second)}, 4, false},
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
		r.backOff()
		require.Equal(t, want*time.Second, r.delay)
	}
}
