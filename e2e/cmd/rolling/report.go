package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gozon/e2e/load"
)

const printedFailures = 20

// missed returns how many orders of the followed users have a newer version than their
// stream has received. All orders must be final.
func (r *rolling) missed(ctx context.Context, followed *load.Resuming) (int, error) {
	rows, err := r.shop.SQL(ctx, fmt.Sprintf(`SELECT id, version FROM orders.orders WHERE user_id <= %d`, streams))
	if err != nil {
		return 0, err
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(noticed)
	for {
		missed, err := followed.Missed(rows)
		if err != nil || len(missed) == 0 || time.Now().After(deadline) {
			return len(missed), err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// report prints the counts and returns an error if one is not 0 that must be.
func (r *rolling) report(ctx context.Context, took time.Duration, followed *load.Resuming, missed int) error {
	accepted, cancelled := r.placed.Accepted(), r.placed.Cancelled()
	pending, err := r.shop.SQL(ctx, `SELECT count(*) FROM orders.orders WHERE status NOT IN ('PAID', 'CANCELLED')`)
	if err != nil {
		return err
	}
	failed, interrupted := len(r.failures.All()), followed.Interrupted.Load()
	broken := interrupted - followed.Resumed.Load()
	fmt.Fprintf(r.out, "%d replicas replaced in %.0f s under load\n", r.replaced, took.Seconds())
	fmt.Fprintf(r.out, "requests: %d, failed: %d\n", r.failures.Requests.Load(), failed)
	fmt.Fprintf(r.out, "event streams: %d, interrupted: %d times, not resumed: %d, missed changes: %d\n", streams, interrupted, broken, missed)
	fmt.Fprintf(r.out, "orders: %d accepted, %d cancelled by clients, not final: %s\n", len(accepted), len(cancelled), pending)
	r.printFailures()
	violations, err := r.shop.Audit(ctx, accepted, cancelled)
	if err != nil {
		return err
	}
	for _, v := range violations {
		fmt.Fprintln(r.out, "audit: violation:", v)
	}
	if failed > 0 || broken != 0 || missed > 0 || pending != "0" || len(violations) > 0 {
		return errors.New("the clients noticed the restarts")
	}
	fmt.Fprintln(r.out, "audit: passed")
	return nil
}

func (r *rolling) printFailures() {
	for i, f := range r.failures.All() {
		if i == printedFailures {
			fmt.Fprintln(r.out, "…")
			return
		}
		fmt.Fprintln(r.out, "failed:", f)
	}
}
