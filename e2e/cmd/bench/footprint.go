package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gozon/e2e/load"
	"gozon/e2e/stack"
)

const (
	readyWithin = time.Minute
	idleFor     = 10 * time.Second // between the last order and the reading of the memory
)

// measureFootprint restarts each service of the shop and measures until it is ready. Then the
// shop settles orders, and its memory is read when it is idle again.
func measureFootprint(ctx context.Context, b *bench) ([]Figure, error) {
	s, err := b.openMain(ctx)
	if err != nil {
		return nil, err
	}
	names := []string{"gateway", "orders", "payments"}
	images, ready := map[string]float64{}, map[string]float64{}
	for _, name := range names {
		if images[name], err = imageSize(ctx, s, name); err != nil {
			return nil, err
		}
		var runs []float64
		for range b.rounds {
			d, err := s.timeToReady(ctx, name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			runs = append(runs, d.Seconds())
		}
		ready[name] = median(runs)
	}
	if err := s.Wait(ctx); err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil { // the gateway may have another address
		return nil, err
	}
	started, err := s.memory(ctx, names...)
	if err != nil {
		return nil, err
	}
	if _, err := s.settle(ctx, users, b.orders); err != nil {
		return nil, err
	}
	if err := pause(ctx, idleFor); err != nil {
		return nil, err
	}
	idle, err := s.memory(ctx, names...)
	if err != nil {
		return nil, err
	}
	t := Table{Title: "Footprint", Header: []string{"service", "image, MB", "memory after the start, MB", "idle memory after orders, MB", "start to ready, s"}}
	for _, name := range names {
		t.Rows = append(t.Rows, []string{name, number(images[name]), number(started[name]), number(idle[name]), number(ready[name])})
	}
	b.report.Tables = append(b.report.Tables, t)
	return []Figure{
		largest("footprint_image", images, "MB", 25, "image of "),
		largest("footprint_memory", idle, "MB", 30, "resident memory after "+thousands(int64(b.orders))+" orders and "+strconv.Itoa(int(idleFor.Seconds()))+" s without any, of "),
		largest("footprint_ready", ready, "s", 1, "container start to ready of "),
	}, nil
}

// largest returns the figure of the service with the largest value.
func largest(name string, values map[string]float64, unit string, bound float64, what string) Figure {
	var worst string
	for service, v := range values {
		if worst == "" || v > values[worst] {
			worst = service
		}
	}
	return measured(name, values[worst], unit, atMost(bound), what+worst+", the largest")
}

// imageSize returns the size of the image of a service in MB.
func imageSize(ctx context.Context, s *shop, service string) (float64, error) {
	running, err := inspect(ctx, s, service)
	if err != nil {
		return 0, err
	}
	out, err := docker(ctx, "image", "inspect", "-f", "{{.Size}}", running.Config.Image)
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseFloat(out, 64)
	return size / 1e6, err
}

var errUnreachable = errors.New("its container is not reachable from here, as it is on Linux")

// timeToReady restarts the container of a service and returns the time from its start, as
// the engine recorded it, until /readyz reports "ready". The gateway is ready when it completes an
// audit: it answers probes only from inside its container.
func (s *shop) timeToReady(ctx context.Context, service string) (time.Duration, error) {
	found, err := s.Containers(ctx, service)
	if err != nil {
		return 0, err
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%d containers, want 1", len(found))
	}
	if !stack.Connects(ctx, "http://"+found[0].IP+":8080") {
		return 0, errUnreachable
	}
	if _, err := docker(ctx, "restart", found[0].ID); err != nil {
		return 0, err
	}
	if found, err = s.Containers(ctx, service); err != nil || len(found) != 1 {
		return 0, errors.Join(fmt.Errorf("%d containers after a restart, want 1", len(found)), err)
	}
	path, want := "/readyz", `"ready"`
	if service == "gateway" {
		path, want = "/audit", `"ok"`
	}
	client := load.NewClient("http://"+found[0].IP+":8080", 1)
	var at time.Time
	if err := waitUntil(ctx, readyWithin, func() (bool, error) {
		status, body, err := client.Get(ctx, path)
		at = time.Now()
		return err == nil && status == 200 && strings.Contains(string(body), want), nil
	}); err != nil {
		return 0, fmt.Errorf("not ready: %w", err)
	}
	running, err := inspect(ctx, s, service)
	if err != nil {
		return 0, err
	}
	return at.Sub(running.State.StartedAt), nil
}
