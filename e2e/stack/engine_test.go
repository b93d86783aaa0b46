package stack

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUsageExcludesInactiveFilePages(t *testing.T) {
	t.Parallel()
	for name, stats := range map[string]string{
		"cgroup v1": `{"inactive_file":1,"total_inactive_file":300}`,
		"cgroup v2": `{"inactive_file":300}`,
	} {
		u, err := decodeUsage(json.NewDecoder(strings.NewReader(
			`{"cpu_stats":{"cpu_usage":{"total_usage":1500}},"memory_stats":{"usage":1000,"stats":` + stats + `}}`)))
		require.NoError(t, err, name)
		require.Equal(t, Usage{CPU: 1500 * time.Nanosecond, Memory: 700}, u, name)
	}
}

func TestUsageOfAStoppedContainerIsAnError(t *testing.T) {
	t.Parallel()
	_, err := decodeUsage(json.NewDecoder(strings.NewReader(`{"cpu_stats":{"cpu_usage":{"total_usage":0}},"memory_stats":{}}`)))
	require.ErrorContains(t, err, "not running")
}
