package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"gozon/shared/delivery/database"
)

const (
	pruneEvery = time.Hour
	pruneBatch = 5000 // maximum number of rows that one transaction deletes, so that it stays short
)

// RunPruner deletes inbox rows older than [InboxRetention] and idempotency keys older than
// [KeyRetention], at the start and every hour, until ctx is done. Every replica may run it.
func (s *Store) RunPruner(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		s.pruneAll(ctx, log, "inbox", s.PruneInbox, InboxRetention)
		s.pruneAll(ctx, log, "idempotency keys", s.PruneKeys, KeyRetention)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Store) pruneAll(ctx context.Context, log *slog.Logger, table string,
	pruneBefore func(ctx context.Context, t time.Time, limit int) (int64, error), retention time.Duration,
) {
	for n := int64(pruneBatch); n == pruneBatch; {
		var err error
		if n, err = pruneBefore(ctx, time.Now().Add(-retention), pruneBatch); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "pruner: failed, retrying", "table", table, "error", err, "retry_in", pruneEvery.String())
		}
	}
}

func prune(ctx context.Context, db *database.DB, statement string, args ...any) (int64, error) {
	tag, err := db.Exec(ctx, statement, args...)
	if err != nil {
		return 0, fmt.Errorf("prune: %w", err)
	}
	return tag.RowsAffected(), nil
}
