package database

import (
	"context"
	"log/slog"
	"time"
)

// RunPruner has prune delete what is too old, now and every hour, until ctx is done. It
// works in steps of at most limit rows, so that no transaction is long, and may run in
// every replica. prune says how many rows it has deleted.
func RunPruner(ctx context.Context, log *slog.Logger, what string, prune func(ctx context.Context, limit int) (int64, error)) error {
	const step = 5000
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		for n := int64(step); n == step; {
			var err error
			if n, err = prune(ctx, step); err != nil && ctx.Err() == nil {
				log.WarnContext(ctx, "not pruned, will try again in an hour", "what", what, "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
