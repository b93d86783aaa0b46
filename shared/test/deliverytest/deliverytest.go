// Package deliverytest verifies the tables of a service, as its migrations create them,
// against the contract of packages delivery and idempotency.
package deliverytest

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery"
	"gozon/shared/delivery/database"
	"gozon/shared/test/servicetest"
)

// Run runs the tests on the tables in schema. open returns a separate, migrated database
// for each test.
func Run(t *testing.T, schema string, open func(testing.TB) (*sql.DB, *database.DB)) {
	t.Helper()
	for table, tests := range map[string]map[string]func(*testing.T, *fixture){
		"inbox": inboxTests, "outbox": outboxTests, "messages": messageTests, "keys": keysTests, "dead letters": deadLetterTests,
		"pruner": {"old rows are deleted at the start and young ones are kept": prunerDeletesOldRows},
	} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					pool, db := open(t)
					f := &fixture{pool: pool, db: db, schema: schema}
					f.store = f.newStore(256)
					test(t, f)
				})
			}
		})
	}
}

type fixture struct {
	store  *delivery.Store
	pool   *sql.DB
	db     *database.DB
	schema string
}

// newStore returns a store that puts at most the given number of events into a message.
func (f *fixture) newStore(eventsPerMessage int) *delivery.Store {
	return delivery.NewStore(delivery.Config{EventsPerMessage: eventsPerMessage}, f.db, f.schema)
}

var errRollback = errors.New("roll back")

// rollBack runs fn in a transaction and rolls it back.
func (f *fixture) rollBack(t *testing.T, fn func(*delivery.Tx)) {
	t.Helper()
	require.ErrorIs(t, f.store.InTx(t.Context(), func(tx *delivery.Tx) error {
		fn(tx)
		return errRollback
	}), errRollback)
}

// count returns the number of rows in a table.
func (f *fixture) count(t *testing.T, table string) (n int) {
	t.Helper()
	require.NoError(t, f.pool.QueryRowContext(t.Context(), "SELECT count(*) FROM "+f.schema+"."+table).Scan(&n))
	return n
}

// lock locks the one row of a table that matches a condition, in a transaction that stays
// open until unlock is called or the test ends.
func (f *fixture) lock(t *testing.T, table, condition string, args ...any) (unlock func()) {
	t.Helper()
	tx, err := f.pool.BeginTx(context.WithoutCancel(t.Context()), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })                                                                               // for a test that fails before it calls unlock
	res, err := tx.ExecContext(t.Context(), "SELECT FROM "+f.schema+"."+table+" WHERE "+condition+" FOR UPDATE", args...) //nolint:gosec // constants of tests
	require.NoError(t, err)
	locked, err := res.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, locked, "locked rows")
	return func() {
		t.Helper()
		require.NoError(t, tx.Rollback())
	}
}

// prunerDeletesOldRows uses more old message ids than the pruner deletes in one transaction.
func prunerDeletesOldRows(t *testing.T, f *fixture) {
	const margin = time.Hour // longer than the test
	var old []uuid.UUID
	for range 5001 {
		old = append(old, messageIDAt(t, time.Now().Add(-delivery.InboxRetention-margin)))
	}
	young := []uuid.UUID{messageIDAt(t, time.Now().Add(-delivery.InboxRetention+margin)), messageID(t)}
	f.claim(t, slices.Concat(old, young)...)
	for key, age := range map[string]time.Duration{"old": delivery.KeyRetention + margin, "aged": delivery.KeyRetention - margin, "new": 0} {
		f.process(t, place(t, key, "x"))
		_, err := f.pool.ExecContext(t.Context(), "UPDATE "+f.schema+".idempotency_keys SET created_at = $1 WHERE key = $2", //nolint:gosec // constants of tests
			time.Now().Add(-age), key)
		require.NoError(t, err)
	}

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f.store.RunPruner(ctx, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	servicetest.Eventually(t, func() bool { return f.count(t, "inbox") <= len(young) && f.count(t, "idempotency_keys") <= 2 })
	f.rollBack(t, func(tx *delivery.Tx) {
		fresh, err := claim(t.Context(), tx, slices.Concat(old, young)...)
		require.NoError(t, err)
		require.ElementsMatch(t, old, slices.Collect(maps.Keys(fresh)))
	})
	require.Equal(t, []response{{Value: "did x"}, {Value: "did x", Replayed: true}, {Value: "did x", Replayed: true}},
		f.process(t, place(t, "old", "x"), place(t, "aged", "x"), place(t, "new", "x")))
}
