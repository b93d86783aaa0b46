package stack

import (
	"context"
	"fmt"
	"time"
)

// MemoryUse is the memory that a container used while it was watched, in bytes.
type MemoryUse struct {
	Container

	Peak, Limit int64
}

// WatchMemory reads the memory of all containers of the services at an interval, until stop is
// called, which returns the result.
func (s *Stack) WatchMemory(ctx context.Context, every time.Duration, services ...string) (stop func() ([]MemoryUse, error), err error) {
	engine, err := NewEngine(ctx)
	if err != nil {
		return nil, err
	}
	var watched []MemoryUse
	for _, service := range services {
		found, err := s.Containers(ctx, service)
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			watched = append(watched, MemoryUse{Container: c})
		}
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			for i := range watched {
				w := &watched[i]
				used, limit, err := engine.Memory(ctx, w.ID)
				if err != nil {
					done <- err
					return
				}
				w.Peak, w.Limit = max(w.Peak, used), limit
			}
			select {
			case <-tick.C:
			case <-running.Done():
				done <- nil
				return
			}
		}
	}()
	return func() ([]MemoryUse, error) {
		cancel()
		err := <-done
		return watched, err
	}, nil
}

// RunState tells whether a container was restarted since another RunState of it.
type RunState struct {
	StartedAt   string
	Restarts    int  // by the engine
	OutOfMemory bool // a process was killed because of the memory limit
}

// RunState returns the state of a container.
func (s *Stack) RunState(ctx context.Context, c Container) (r RunState, err error) {
	out, err := docker(ctx, nil, "inspect", "-f", "{{.State.StartedAt}} {{.RestartCount}} {{.State.OOMKilled}}", c.ID)
	if err != nil {
		return r, err
	}
	_, err = fmt.Sscan(out, &r.StartedAt, &r.Restarts, &r.OutOfMemory)
	return r, err
}
