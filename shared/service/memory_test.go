package service_test

import (
	"context"
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/test/servicetest"
)

// The test does not run in parallel: other tests would allocate.
func TestIdleProcessReleasesMemory(t *testing.T) { //nolint:paralleltest // see above
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- service.ReleaseMemory().Run(ctx) }()
	makeGarbage(t, 64<<20)
	servicetest.Eventually(t, func() bool { return heapInUse() < 32<<20 })
	cancel()
	require.NoError(t, <-done)
}

// makeGarbage uses memory of the given size, in bytes.
func makeGarbage(t *testing.T, size uint64) {
	t.Helper()
	garbage := make([]byte, size)
	for i := range garbage {
		garbage[i] = 1
	}
	require.Greater(t, heapInUse(), size)
	runtime.KeepAlive(garbage)
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
