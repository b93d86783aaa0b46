package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gozon/e2e/load"
)

const (
	streamOpeners = 50               // streams that are opened at the same time
	streamsIdle   = 20 * time.Second // longer than the 15 s between heartbeats
	seenWithin    = time.Minute
)

// measureStreams opens one event stream for each of many users, all through one gateway to
// one replica of orders, and reads the memory of both while the streams are idle. Then each
// user places an order. The CPU time for this, less the CPU time of as many orders without
// streams, is what it costs to deliver the changes.
func measureStreams(ctx context.Context, b *bench) ([]Figure, error) {
	s, err := b.openMain(ctx)
	if err != nil {
		return nil, err
	}
	// Without the garbage of the figures before.
	if err := s.Compose(ctx, "restart", "orders", "gateway"); err != nil {
		return nil, err
	}
	if err := s.Wait(ctx); err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	empty, err := s.memory(ctx, "gateway", "orders")
	if err != nil {
		return nil, err
	}
	place := func() (result, error) {
		return s.settlePlaced(ctx, b.streams, func(placed *load.Orders) error {
			return s.client.PlaceInTurn(ctx, connections, b.streams, b.streams, placed)
		})
	}
	var paid, events atomic.Int64
	streams, err := s.follow(ctx, b.streams, func(c load.Change) {
		events.Add(1)
		if c.Status == "PAID" {
			paid.Add(1)
		}
	})
	defer func() {
		for _, stream := range streams {
			_ = stream.Close() // its goroutine has ended, and the server sees the same
		}
	}()
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, streamsIdle); err != nil {
		return nil, err
	}
	idle, err := s.memory(ctx, "gateway", "orders")
	if err != nil {
		return nil, err
	}
	with, err := place()
	if err != nil {
		return nil, err
	}
	if err := waitUntil(ctx, seenWithin, func() (bool, error) { return paid.Load() >= int64(b.streams), nil }); err != nil {
		return nil, fmt.Errorf("%d of %d streams saw their order as PAID: %w", paid.Load(), b.streams, err)
	}
	delivered := events.Load()
	for _, stream := range streams {
		if stream.Ended() {
			return nil, errors.New("a stream has ended early")
		}
		if err := stream.Close(); err != nil {
			return nil, err
		}
	}
	streams = nil
	if _, err := place(); err != nil { // the end of the streams costs CPU time too
		return nil, err
	}
	without, err := place()
	if err != nil {
		return nil, err
	}
	t := Table{Title: thousands(int64(b.streams)) + " event streams, one for each user", Header: []string{
		"", "memory without streams, MB", "memory with idle streams, MB", "CPU time of an order, µs", "with its changes delivered, µs", "difference for one event, µs",
	}}
	var figures []Figure
	for _, service := range []string{"gateway", "orders"} {
		perOrder := func(r result) float64 { return float64(r.cpu[service].Microseconds()) / float64(r.orders) }
		t.Rows = append(t.Rows, []string{
			service, number(empty[service]), number(idle[service]), number(perOrder(without)), number(perOrder(with)),
			number((perOrder(with) - perOrder(without)) * float64(b.streams) / float64(delivered)),
		})
		figures = append(figures, measured("streams_"+service, idle[service], "MB", atMost(60),
			fmt.Sprintf("resident memory with %s idle streams, %s MB without", thousands(int64(b.streams)), number(empty[service]))))
	}
	t.Rows = append(t.Rows, []string{"events delivered", strconv.FormatInt(delivered, 10)})
	b.report.Tables = append(b.report.Tables, t)
	return figures, nil
}

// follow opens the event streams of the users 1 to n. It returns those that it has opened,
// also if it fails.
func (s *shop) follow(ctx context.Context, n int, changed func(load.Change)) ([]*load.Stream, error) {
	opened := make([]*load.Stream, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(streamOpeners)
	for i := range n {
		g.Go(func() (err error) {
			opened[i], err = s.client.Follow(ctx, i+1, changed)
			return err
		})
	}
	err := g.Wait()
	all := opened[:0]
	for _, stream := range opened {
		if stream != nil {
			all = append(all, stream)
		}
	}
	return all, err
}

// memory returns the resident memory of each service in MB.
func (s *shop) memory(ctx context.Context, services ...string) (map[string]float64, error) {
	mb := map[string]float64{}
	for _, service := range services {
		found, err := s.Containers(ctx, service)
		if err != nil {
			return nil, err
		}
		if len(found) != 1 {
			return nil, fmt.Errorf("%s has %d containers, want 1", service, len(found))
		}
		bytes, err := s.ResidentMemory(ctx, found[0])
		if err != nil {
			return nil, err
		}
		mb[service] = float64(bytes) / 1e6
	}
	return mb, nil
}

// pause waits for the duration.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
