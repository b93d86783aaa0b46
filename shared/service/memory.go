package service

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	idleInterval = 2 * time.Second
	// idleAllocated is how many bytes an idle process allocates at most in an interval. The
	// probes, the metrics and the timers of a service need less.
	idleAllocated = 512 << 10
	// releaseAfter is how many bytes must have been allocated since the last release, so that
	// an idle process does not collect again and again.
	releaseAfter = 4 << 20
)

// ReleaseMemory returns the part that gives the memory of garbage back to the operating
// system while the process is idle. With a high GOGC, which saves CPU time under load, the
// garbage of the last busy moment is several times larger than the live heap. An idle
// process allocates too little to collect it soon.
func ReleaseMemory() Part {
	return Part{Name: "memory", Run: func(ctx context.Context) error {
		tick := time.NewTicker(idleInterval)
		defer tick.Stop()
		var released, last uint64
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
			now := allocated()
			if now-last < idleAllocated && now-released >= releaseAfter {
				runtime.GC() // empties the pools together with the next collection
				debug.FreeOSMemory()
				released = now
			}
			last = now
		}
	}}
}

// allocated returns how many bytes the process has allocated since its start.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
