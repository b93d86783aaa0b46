package main

import (
	"context"
	"fmt"
	"time"

	"gozon/e2e/stack"
)

// memory watches the memory of all containers.
type memory struct {
	r          *overload
	engine     *stack.Engine
	containers []stack.Container
	peak       map[string]int64 // by container, in bytes
	limit      map[string]int64
	err        error
	stop       func()
}

// watchMemory watches the containers, once per second, until report is called.
func (r *overload) watchMemory(ctx context.Context) (*memory, error) {
	engine, err := stack.NewEngine(ctx)
	if err != nil {
		return nil, err
	}
	m := &memory{r: r, engine: engine, peak: map[string]int64{}, limit: map[string]int64{}}
	for _, service := range []string{"gateway", "orders", "payments", "postgres", "rabbitmq", "frontend"} {
		found, err := r.shop.Containers(ctx, service)
		if err != nil {
			return nil, err
		}
		m.containers = append(m.containers, found...)
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			m.sample(ctx)
			select {
			case <-tick.C:
			case <-running.Done():
				return
			}
		}
	}()
	m.stop = func() { cancel(); <-done }
	return m, nil
}

func (m *memory) sample(ctx context.Context) {
	for _, c := range m.containers {
		used, limit, err := m.engine.Memory(ctx, c.ID)
		if err != nil {
			m.err = err
			continue
		}
		m.peak[c.ID], m.limit[c.ID] = max(m.peak[c.ID], used), limit
	}
}

// report prints the peak of each container, which must be below its limit. No container may
// have been replaced or restarted.
func (m *memory) report(ctx context.Context) error {
	m.stop()
	if m.err != nil {
		return m.err
	}
	for _, c := range m.containers {
		fmt.Fprintf(m.r.out, "memory of %s: at most %d MB of %d MB\n", c.Service, m.peak[c.ID]/1e6, m.limit[c.ID]/1e6)
		if m.peak[c.ID] >= m.limit[c.ID] {
			m.r.fail("%s has reached its memory limit", c.Service)
		}
		restarts, killed, err := m.r.shop.Restarts(ctx, c)
		if err != nil {
			return err
		}
		if restarts > 0 || killed {
			m.r.fail("%s was restarted %d times; killed for its memory: %t", c.Service, restarts, killed)
		}
	}
	return nil
}
