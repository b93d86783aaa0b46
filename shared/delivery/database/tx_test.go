package database_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/batch"
	"gozon/shared/delivery/database"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

const (
	createRows = `-- +goose Up
CREATE TABLE orders.rows (id bigint PRIMARY KEY, v bigint NOT NULL DEFAULT 0 CHECK (v >= 0));
GRANT SELECT, INSERT, UPDATE ON orders.rows TO orders;
GRANT SELECT ON orders.goose_db_version TO orders;`
	insertRow = "INSERT INTO orders.rows (id, v) VALUES ($1, $2)"
)

var rowsOnly = files(map[string]string{"00001_rows.sql": createRows})

// txFixture is a table of rows that is reached through a proxy.
type txFixture struct {
	database *databasetest.Database
	proxy    *databasetest.Proxy
	db       *database.DB
}

func startTx(t *testing.T) *txFixture {
	t.Helper()
	d := databasetest.New(t)
	_, _ = d.Open(t, schema, rowsOnly)
	f := &txFixture{database: d, proxy: d.Proxy(t)}
	f.db = f.proxy.Open(t, schema)
	return f
}

// insert queues a row.
func insert(tx *database.Tx, id, v int) { tx.Queue("insert row", insertRow, id, v) }

// count returns the query that counts the rows and the pointer that it fills.
func count() (*int, database.Selection) {
	var n int
	return &n, database.Select("count", []any{&n}, func() {}, "SELECT count(*) FROM orders.rows WHERE id > $1", 0)
}

// rows returns the number of committed rows.
func (f *txFixture) rows(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, f.database.Admin(t).QueryRowContext(t.Context(), "SELECT count(*) FROM orders.rows").Scan(&n))
	return n
}

// warm prepares the statements of the tests on a connection, which the next transaction uses.
func (f *txFixture) warm(t *testing.T) {
	t.Helper()
	for range 3 {
		require.ErrorIs(t, f.db.InTx(t.Context(), func(tx *database.Tx) error {
			insert(tx, 1, 1)
			_, q := count()
			require.NoError(t, tx.Read(t.Context(), q))
			return errAbort
		}), errAbort)
	}
	require.NoError(t, f.db.InTx(t.Context(), func(tx *database.Tx) error { insert(tx, 1000, 1); return nil }))
	f.database.Do(t, "DELETE FROM orders.rows")
}

var errAbort = errors.New("abort")

// requireUsable requires that no connection was lost to the pool.
func (f *txFixture) requireUsable(t *testing.T) {
	t.Helper()
	servicetest.Eventually(t, func() bool { return f.db.Stat().AcquiredConns() == 0 }) // a connection is closed in the background
	require.NoError(t, f.db.InTx(t.Context(), func(tx *database.Tx) error { insert(tx, 9999, 1); return nil }))
}

// The transaction fails on a lock within 100 ms, also when pgx must prepare its statements,
// which waits for the lock of a table, and when the previous attempt failed as well.
func TestLockWaitEndsWithTheLockTimeout(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]string{
		"row":   "UPDATE orders.rows SET v = 2 WHERE id = 1",
		"table": "LOCK TABLE orders.rows IN ACCESS EXCLUSIVE MODE",
	} {
		for connection, warm := range map[string]bool{"new connection": false, "warm connection": true} {
			t.Run(name+", "+connection, func(t *testing.T) {
				t.Parallel()
				f := startTx(t)
				if warm {
					f.warm(t)
				}
				f.database.Do(t, insertRow, 1, 1)
				release := f.database.Hold(t, hold)
				for range 3 {
					start := time.Now()
					err := f.db.InTx(t.Context(), func(tx *database.Tx) error {
						insert(tx, 2, 1)
						tx.Queue("update row", "UPDATE orders.rows SET v = v + 1 WHERE id = $1", 1)
						return nil
					})
					require.True(t, database.IsBusy(err), err)
					require.NotErrorIs(t, err, database.ErrCommit)
					require.Less(t, time.Since(start), 5*time.Second, "the lock timeout of the pool is 10 seconds")
				}
				release()
				require.Equal(t, 1, f.rows(t))
				f.requireUsable(t)
			})
		}
	}
}

func TestRoundTripsOfATransaction(t *testing.T) {
	t.Parallel()
	f := startTx(t)
	f.warm(t)
	id := 0
	for name, tc := range map[string]struct {
		fn   func(*database.Tx) error
		want int
	}{
		"nothing": {func(*database.Tx) error { return nil }, 0},
		"writes": {func(tx *database.Tx) error {
			for range 3 {
				id++
				insert(tx, id, 1)
			}
			return nil
		}, 1},
		"read, writes": {func(tx *database.Tx) error {
			one, first := count()
			two, second := count()
			if err := tx.Read(t.Context(), first, second); err != nil {
				return err
			}
			require.Equal(t, *one, *two)
			id++
			insert(tx, id, 1)
			return nil
		}, 2},
		"write, read": {func(tx *database.Tx) error {
			id++
			insert(tx, id, 1)
			n, q := count()
			require.NoError(t, tx.Read(t.Context(), q))
			require.Equal(t, id, *n, "a query sees the statements before it")
			return nil
		}, 2},
	} {
		require.Equal(t, tc.want, f.proxy.FewestRoundTrips(func() {
			require.NoError(t, f.db.InTx(t.Context(), tc.fn), name)
		}), name)
	}
	require.Equal(t, id, f.rows(t))
}

// A transaction whose read failed never commits, whatever its function returns.
func TestFailedReadNeverCommits(t *testing.T) {
	t.Parallel()
	f := startTx(t)
	err := f.db.InTx(t.Context(), func(tx *database.Tx) error {
		insert(tx, 1, 1)
		require.NoError(t, tx.Read(t.Context()))
		var n int
		require.Error(t, tx.Read(t.Context(), database.Select("read", []any{&n}, func() {}, "SELECT 1 / $1::int", 0)))
		insert(tx, 2, 1)
		return nil
	})
	require.True(t, database.IsData(err), err)
	require.NotErrorIs(t, err, database.ErrCommit)
	require.Zero(t, f.rows(t))
	f.requireUsable(t)
}

func TestFunctionFails(t *testing.T) {
	t.Parallel()
	f := startTx(t)
	var ended *database.Tx
	require.PanicsWithError(t, "abort", func() {
		_ = f.db.InTx(t.Context(), func(tx *database.Tx) error {
			ended = tx
			insert(tx, 1, 1)
			require.NoError(t, tx.Read(t.Context()))
			panic(errAbort)
		})
	})
	insert(ended, 2, 1)
	require.Error(t, ended.Commit(t.Context()), "it was rolled back")
	require.ErrorIs(t, f.db.InTx(t.Context(), func(tx *database.Tx) error { insert(tx, 1, 1); return errAbort }), errAbort)
	require.Zero(t, f.rows(t))
	f.requireUsable(t)
}

// A batch that must not wait fails on a lock at once. Reads outside of a transaction wait.
func TestLockTimeouts(t *testing.T) {
	t.Parallel()
	f := startTx(t)
	for want, ctx := range map[string]context.Context{"100ms": t.Context(), "1ms": batch.WithoutWaiting(t.Context())} {
		require.NoError(t, f.db.InTx(ctx, func(tx *database.Tx) error {
			var got string
			require.NoError(t, tx.Read(ctx, database.Select("show", []any{&got}, func() {}, "SELECT current_setting('lock_timeout')")))
			require.Equal(t, want, got)
			return nil
		}))
	}
	var pool string
	require.NoError(t, f.db.QueryRow(t.Context(), "SHOW lock_timeout").Scan(&pool))
	require.Equal(t, "10s", pool)
}
