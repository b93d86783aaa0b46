// Command overload starts a separate shop, measures how many orders it settles per second, and
// offers it four times as many, as an open loop over many connections. The shop must refuse
// what it cannot carry with 503 and Retry-After. Nothing else may fail, no container may reach
// its memory limit or restart, every accepted order must become final and be charged once, no
// refused order may exist, and soon after the load has ended, latencies must be as before.
//
// The load generator shares the machine with the shop, so on a small one it cannot send as
// many requests as intended. The report shows how many it sent.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"gozon/e2e/load"
	"gozon/e2e/stack"
)

const (
	users   = 10_000
	balance = 1_000_000

	capacityOrders      = 20_000
	capacityConnections = 64
	// connections is more than the gateway admits at a time.
	connections = 1500

	// The probes are orders that are placed before and after the load.
	probeRate        = 50 // per second
	probeConnections = 50
	probed           = 10 * time.Second
	// recovery is the time after the load in which latencies may still be higher.
	recovery = 10 * time.Second

	settle = 3 * time.Minute
)

func main() {
	times := flag.Float64("times", 4, "offered rate, as a multiple of what the shop carries")
	duration := flag.Duration("duration", 20*time.Second, "duration of the load")
	stack.Main("overload", func(ctx context.Context, log io.Writer) error {
		r := &overload{times: *times, duration: *duration, out: os.Stdout}
		return r.run(ctx, log)
	})
}

type overload struct {
	times    float64
	duration time.Duration
	out      io.Writer

	shop   *stack.Stack
	client *load.Client
	placed load.Orders
	failed []string // what must not have happened
}

func (r *overload) run(ctx context.Context, log io.Writer) (err error) {
	if r.shop, err = stack.Up(ctx, stack.Options{Project: "gozon-overload", Log: log}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.shop.Down(context.WithoutCancel(ctx))) }()
	base, err := r.shop.Gateway(ctx)
	if err != nil {
		return err
	}
	r.client = load.NewClient(base, capacityConnections)
	if err := r.client.OpenAccounts(ctx, users, balance); err != nil {
		return err
	}
	stopMemory, err := r.shop.WatchMemory(ctx, time.Second, services...)
	if err != nil {
		return err
	}
	capacity, err := r.capacity(ctx)
	if err != nil {
		return err
	}
	before, err := r.probe(ctx, probed)
	if err != nil {
		return err
	}

	rate := r.times * capacity
	fmt.Fprintf(r.out, "offering %.0f orders/s for %s over at most %d connections\n", rate, r.duration, connections)
	stopUse := r.useMeanwhile(ctx)
	start := time.Now()
	accepted := len(r.placed.Accepted())
	offered := r.client.Offer(ctx, connections, users, rate, r.duration, &r.placed)
	end := time.Now()
	use := stopUse()
	accepted = len(r.placed.Accepted()) - accepted
	after, err := r.probe(ctx, recovery+probed)
	if err != nil {
		return err
	}
	if err := r.reportDrained(ctx, end); err != nil {
		return err
	}
	r.reportLoad(offered, end.Sub(start), float64(accepted)/r.duration.Seconds(), capacity)
	r.reportUse(use)
	r.reportRecovery(before, after)
	memory, err := stopMemory()
	if err != nil {
		return err
	}
	if err := r.reportMemory(ctx, memory); err != nil {
		return err
	}
	if err := r.audit(ctx, use.cancelled); err != nil {
		return err
	}
	for _, f := range r.failed {
		fmt.Fprintln(r.out, "failed:", f)
	}
	if len(r.failed) > 0 {
		return errors.New("the shop did not withstand the overload")
	}
	fmt.Fprintln(r.out, "passed")
	return nil
}

// fail records what must not have happened.
func (r *overload) fail(format string, args ...any) {
	r.failed = append(r.failed, fmt.Sprintf(format, args...))
}

// capacity returns how many orders the shop settles per second. A first round warms it up.
func (r *overload) capacity(ctx context.Context) (float64, error) {
	var rate float64
	for _, n := range []int{capacityOrders / 4, capacityOrders} {
		start := time.Now()
		if err := r.client.Place(ctx, capacityConnections, users, n, &r.placed); err != nil {
			return 0, err
		}
		if _, err := r.shop.Settle(ctx, settle); err != nil {
			return 0, err
		}
		rate = float64(n) / time.Since(start).Seconds()
	}
	fmt.Fprintf(r.out, "capacity: %.0f orders/s (closed loop, %d connections, until all are terminal)\n", rate, capacityConnections)
	return rate, nil
}

func (r *overload) audit(ctx context.Context, cancelled []string) error {
	violations, err := r.shop.Audit(ctx, r.placed.Accepted(), cancelled)
	if err != nil {
		return err
	}
	for _, v := range violations {
		r.fail("audit: %s", v)
	}
	status, body, err := r.client.Get(ctx, "/audit?full=true")
	if err != nil {
		return err
	}
	if status != http.StatusOK || !bytes.Contains(body, []byte(`"ok":true`)) {
		r.fail("GET /audit?full=true: %d %s", status, body)
	}
	fmt.Fprintf(r.out, "audit of %d orders: %d violations\n", len(r.placed.Accepted()), len(violations))
	return nil
}
