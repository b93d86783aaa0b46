package database_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/database"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

// startUnreplicated returns a server whose synchronous standby is missing, and a pool.
func startUnreplicated(t *testing.T) (*databasetest.Database, *database.DB) {
	t.Helper()
	d, _ := databasetest.Own(t)
	_, db := d.Open(t, schema, rowsOnly)
	d.Do(t, "ALTER SYSTEM SET synchronous_standby_names = 'missing'")
	d.Do(t, "SELECT pg_reload_conf()")
	return d, db
}

// replicate ends all waits, as if the standby had received everything.
func replicate(t *testing.T, d *databasetest.Database) {
	t.Helper()
	d.Do(t, "ALTER SYSTEM RESET synchronous_standby_names")
	d.Do(t, "SELECT pg_reload_conf()")
}

func insertOne(ctx context.Context, db *database.DB, id int) error {
	return db.InTx(ctx, func(tx *database.Tx) error { insert(tx, id, 1); return nil })
}

// The deadline of a commit expires while the synchronous standby does not respond. Nobody sees
// what was committed until the standby has it, neither a retry nor a read.
func TestExpiredCommitStaysInvisibleUntilItIsReplicated(t *testing.T) {
	t.Parallel()
	d, db := startUnreplicated(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.ErrorIs(t, insertOne(ctx, db, 1), database.ErrCommit)
	servicetest.Eventually(t, func() bool { return db.Stat().TotalConns() == 0 }, "the connection must be closed")
	count := func() (n int) {
		require.NoError(t, d.Admin(t).QueryRowContext(t.Context(), "SELECT count(*) FROM orders.rows").Scan(&n))
		return n
	}
	require.Zero(t, count())
	replicate(t, d)
	servicetest.Eventually(t, func() bool { return count() == 1 })
	require.NoError(t, insertOne(t.Context(), db, 2))
}

// An operator cancels the wait of a commit for the synchronous standby. The server reports
// success, although a standby that is promoted may not have the transaction.
func TestCommitThatIsNotReplicatedIsNotASuccess(t *testing.T) {
	t.Parallel()
	d, db := startUnreplicated(t)
	committed := make(chan error, 1)
	go func() { committed <- insertOne(t.Context(), db, 1) }()
	admin := d.Admin(t)
	servicetest.Eventually(t, func() bool {
		var cancelled int
		require.NoError(t, admin.QueryRowContext(t.Context(), `SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
			WHERE wait_event = 'SyncRep' AND usename = $1`, schema).Scan(&cancelled))
		return cancelled == 1
	})
	err := <-committed
	require.ErrorIs(t, err, database.ErrCommit)
	require.ErrorContains(t, err, "standby")
	replicate(t, d)
	require.NoError(t, insertOne(t.Context(), db, 2))
}
