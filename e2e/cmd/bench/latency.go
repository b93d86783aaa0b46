package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"gozon/e2e/load"
)

const (
	latencyRate      = 100 // orders/s
	latencyFollowers = 100 // users, each with one event stream
	latencyWarmUp    = 5 * latencyRate
	paidWithin       = 30 * time.Second // after the last order was placed
)

// paidTimes records when the followers saw orders as PAID. It is safe for concurrent use.
type paidTimes struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func (p *paidTimes) changed(c load.Change) {
	if c.Status != "PAID" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, again := p.seen[c.ID]; !again { // events are delivered at least once
		p.seen[c.ID] = c.At
	}
}

func (p *paidTimes) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.seen)
}

// measureLatency measures from the scheduled time of a POST until the event stream of its
// user delivers the order as PAID.
func measureLatency(ctx context.Context, b *bench) ([]Figure, error) {
	s, err := b.openMain(ctx)
	if err != nil {
		return nil, err
	}
	paid := &paidTimes{seen: map[string]time.Time{}}
	for user := range latencyFollowers {
		follow, err := s.client.Follow(ctx, user+1, paid.changed)
		if err != nil {
			return nil, err
		}
		defer follow.Close()
	}
	if _, err := s.client.PlaceAtRate(ctx, latencyRate, latencyFollowers, latencyWarmUp); err != nil {
		return nil, err
	}
	placed, err := s.client.PlaceAtRate(ctx, latencyRate, latencyFollowers, b.latencyOrders)
	if err != nil {
		return nil, err
	}
	if err := waitUntil(ctx, paidWithin, func() (bool, error) { return paid.count() == latencyWarmUp+b.latencyOrders, nil }); err != nil {
		return nil, fmt.Errorf("%d of %d orders were seen as PAID: %w", paid.count(), latencyWarmUp+b.latencyOrders, err)
	}
	var settled, accepted []float64
	for _, p := range placed {
		settled = append(settled, milliseconds(paid.seen[p.ID].Sub(p.Intended)))
		accepted = append(accepted, milliseconds(p.Accepted.Sub(p.Intended)))
	}
	b.report.Tables = append(b.report.Tables, Table{
		Title:  "Latency at 100 orders/s, ms",
		Header: []string{"from the scheduled time until", "p50", "p90", "p99", "p99.9", "max"},
		Rows:   [][]string{latencyRow("the POST was answered", accepted), latencyRow("PAID was seen on the event stream", settled)},
	})
	detail := fmt.Sprintf("POST to PAID on the event stream, %s orders at %d/s, open loop", thousands(int64(len(placed))), latencyRate)
	return []Figure{
		measured("latency_p50", percentile(settled, 0.5), "ms", atMost(10), detail),
		measured("latency_p99", percentile(settled, 0.99), "ms", atMost(40), detail),
	}, nil
}

func latencyRow(name string, values []float64) []string {
	row := []string{name}
	for _, p := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
		row = append(row, strconv.FormatFloat(percentile(values, p), 'f', 1, 64))
	}
	return row
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

var errTimeout = errors.New("timeout")

// waitUntil waits until the condition is true.
func waitUntil(ctx context.Context, within time.Duration, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, errTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := condition(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
