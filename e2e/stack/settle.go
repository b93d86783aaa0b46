package stack

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Settle waits until every order has a final status and every event is published. It
// returns the time that took, or an error if it took longer than the limit.
func (s *Stack) Settle(ctx context.Context, limit time.Duration) (time.Duration, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := s.SQL(ctx, `SELECT (SELECT count(*) FROM orders.orders WHERE status IN ('NEW', 'CANCELLING')) + (SELECT count(*) FROM orders.outbox) + (SELECT count(*) FROM payments.outbox)`)
		if err == nil && left == "0" {
			return time.Since(start), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("not settled after %s: %s orders and events are pending (%w)", limit, left, errors.Join(err, ctx.Err()))
		}
	}
}
