package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Summarize calls the function summarize of the schema, which summarizes the new rows in a BRIN
// index. Every query reads them until then. Autovacuum does so too, but only once a minute. It
// does nothing if somebody else holds a conflicting lock, such as autovacuum, and waits for
// less time than it takes until autovacuum gives way.
func (db *DB) Summarize(ctx context.Context, schema string) error {
	err := pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockTimeout); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT "+schema+".summarize()")
		return err
	})
	if err != nil && !IsBusy(err) {
		return fmt.Errorf("summarize %s: %w", schema, err)
	}
	return nil
}
