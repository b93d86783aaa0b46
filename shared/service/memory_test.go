package service

import (
	"context"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test does not run in parallel: other tests would allocate.
func TestIdleProcessReleasesMemory(t *testing.T) { //nolint:paralleltest // see above
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- ReleaseMemory().Run(ctx) }()
	garbage := make([]byte, 64<<20)
	for i := range garbage {
		garbage[i] = 1
	}
	require.Greater(t, heapInUse(), uint64(len(garbage)))
	garbage = nil
	require.Eventually(t, func() bool { return heapInUse() < 32<<20 }, 30*time.Second, 100*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

// heapInUse returns the memory of the heap, in bytes, that was not returned to the operating
// system.
func heapInUse() uint64 {
	sample := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(sample)
	var sum uint64
	for _, s := range sample {
		sum += s.Value.Uint64()
	}
	return sum
}
