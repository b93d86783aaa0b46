package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Summarize summarizes the new rows in a BRIN index, which every query reads until then.
// Autovacuum does so too, but only once a minute. It does nothing if somebody else holds a
// conflicting lock, such as autovacuum, and waits for less time than it takes until
// autovacuum gives way.
func (db *DB) Summarize(ctx context.Context, index string) error {
	err := pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockTimeout); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT brin_summarize_new_values($1::text::regclass)", index)
		return err
	})
	if err != nil && !IsBusy(err) {
		return fmt.Errorf("summarize %s: %w", index, err)
	}
	return nil
}
