package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"gozon/e2e/stack"
)

// cpuTime is CPU time by service.
type cpuTime map[string]time.Duration

func (c cpuTime) sum() time.Duration {
	var sum time.Duration
	for _, d := range c {
		sum += d
	}
	return sum
}

// services of the shop, in the order of the tables.
var services = []string{"gateway", "orders", "payments", "postgres", "rabbitmq", "frontend"}

// meter measures the CPU time of the containers of a shop.
type meter struct {
	engine     *stack.Engine
	containers []stack.Container
	start      cpuTime
}

// startMeter starts to measure the given services, or all of them if none is given.
func startMeter(ctx context.Context, engine *stack.Engine, s *stack.Stack, names ...string) (*meter, error) {
	if len(names) == 0 {
		names = services
	}
	m := &meter{engine: engine}
	for _, name := range names {
		found, err := s.Containers(ctx, name)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s is not running", name)
		}
		m.containers = append(m.containers, found...)
	}
	var err error
	m.start, err = m.read(ctx)
	return m, err
}

func (m *meter) read(ctx context.Context) (cpuTime, error) {
	now := cpuTime{}
	for _, c := range m.containers {
		t, err := m.engine.CPUTime(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		now[c.Service] += t
	}
	return now, nil
}

// used returns the CPU time since the start.
func (m *meter) used(ctx context.Context) (cpuTime, error) {
	now, err := m.read(ctx)
	for service := range now {
		now[service] -= m.start[service]
	}
	return now, err
}

// ownCPU returns the CPU time of this process, the load generator.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuRow returns the cells of a table row: the CPU time for one order in microseconds, by
// service and in total, each the median of the runs.
func cpuRow(name string, runs []result) []string {
	perOrder := func(of func(result) time.Duration) float64 {
		return median(pick(runs, func(r result) float64 { return float64(of(r).Nanoseconds()) / 1e3 / float64(r.orders) }))
	}
	row := []string{name}
	for _, service := range services {
		if slices.ContainsFunc(runs, func(r result) bool { _, ok := r.cpu[service]; return ok }) {
			row = append(row, number(perOrder(func(r result) time.Duration { return r.cpu[service] })))
		} else {
			row = append(row, "–")
		}
	}
	client := "–"
	if slices.ContainsFunc(runs, func(r result) bool { return r.cpu["client"] > 0 }) {
		client = number(perOrder(func(r result) time.Duration { return r.cpu["client"] }))
	}
	generator := "–"
	if slices.ContainsFunc(runs, func(r result) bool { return r.load > 0 }) {
		generator = number(perOrder(func(r result) time.Duration { return r.load }))
	}
	return append(row, client, number(perOrder(func(r result) time.Duration { return r.cpu.sum() })), generator)
}

// cpuHeader is the header of the rows of cpuRow.
func cpuHeader() []string {
	return append(append([]string{"CPU time for one order, µs"}, services...), "client", "sum", "load generator, not in the sum")
}
