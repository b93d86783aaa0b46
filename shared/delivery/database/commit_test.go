package database_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/database"
	"gozon/shared/test/databasetest"
)

// A statement fails in the round trip that ends with COMMIT. Nothing is committed, and the
// error says so.
func TestFailureInThePipelineOfACommitRollsBack(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		queue func(*database.Tx)
		is    func(error) bool
	}{
		"invalid data":       {func(tx *database.Tx) { insert(tx, 2, -1) }, database.IsData},
		"invalid expression": {func(tx *database.Tx) { tx.Queue("divide", "SELECT 1 / $1::int", 0) }, database.IsData},
		"missing table":      {func(tx *database.Tx) { tx.Queue("insert", "INSERT INTO orders.nothing VALUES (1)") }, database.IsSchema},
		"wrong type":         {func(tx *database.Tx) { tx.Queue("insert", insertRow, "x", 1) }, func(err error) bool { return !database.IsUnavailable(err) }},
		"row exists": {func(tx *database.Tx) { insert(tx, 1, 1) }, func(err error) bool {
			return !database.IsData(err) && !database.IsUnavailable(err) && !database.IsBusy(err)
		}},
		"read-only": {func(tx *database.Tx) {
			tx.Queue("turn read-only", "SET TRANSACTION READ ONLY")
			insert(tx, 2, 1)
		}, database.IsUnavailable},
		"the session is terminated": {func(tx *database.Tx) {
			tx.Queue("terminate", "SELECT pg_terminate_backend(pg_backend_pid())")
		}, database.IsUnavailable},
	} {
		for connection, warm := range map[string]bool{"new connection": false, "warm connection": true} {
			t.Run(name+", "+connection, func(t *testing.T) {
				t.Parallel()
				f := startTx(t)
				if warm {
					f.warm(t)
				}
				err := f.db.InTx(t.Context(), func(tx *database.Tx) error {
					insert(tx, 1, 1)
					tc.queue(tx)
					insert(tx, 3, 1)
					return nil
				})
				require.Error(t, err)
				require.NotErrorIs(t, err, database.ErrCommit)
				require.True(t, tc.is(err), err)
				require.Zero(t, f.rows(t))
				f.requireUsable(t)
			})
		}
	}
}

// COMMIT itself fails. Only an error of the transaction proves that it was rolled back: a
// session that ends may have committed.
func TestFailureOfACommit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fail    string
		unknown bool
	}{
		"deferred constraint":       {"RAISE EXCEPTION 'invalid' USING ERRCODE = '23514'", false},
		"the session is terminated": {"PERFORM pg_terminate_backend(pg_backend_pid())", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startTx(t)
			f.database.Do(t, "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "+tc.fail+`; RETURN NEW; END$$;
				CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON orders.rows DEFERRABLE INITIALLY DEFERRED
					FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION public.fail()`)
			err := f.db.InTx(t.Context(), func(tx *database.Tx) error { insert(tx, 1, 1); return nil })
			require.Error(t, err)
			require.Equal(t, tc.unknown, errors.Is(err, database.ErrCommit), err)
			require.Equal(t, !tc.unknown, database.IsData(err), err)
			require.Zero(t, f.rows(t))
			f.requireUsable(t)
		})
	}
}

// The connection is lost between the request that ends with COMMIT and its response.
func TestConnectionLostDuringCommit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lose      func(*databasetest.Proxy)
		committed int
	}{
		"the request is lost":  {(*databasetest.Proxy).LoseRequest, 0},
		"the response is lost": {(*databasetest.Proxy).LoseResponse, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startTx(t)
			f.warm(t)
			err := f.db.InTx(t.Context(), func(tx *database.Tx) error {
				insert(tx, 1, 1)
				require.NoError(t, tx.Read(t.Context()))
				insert(tx, 2, 1)
				tc.lose(f.proxy)
				return nil
			})
			require.ErrorIs(t, err, database.ErrCommit)
			require.Equal(t, tc.committed, f.rows(t))
			f.requireUsable(t)
		})
	}
}

// The connection is lost before COMMIT is sent: nothing was done.
func TestConnectionLostDuringARead(t *testing.T) {
	t.Parallel()
	f := startTx(t)
	f.warm(t)
	err := f.db.InTx(t.Context(), func(tx *database.Tx) error {
		insert(tx, 1, 1)
		f.proxy.LoseResponse()
		_, q := count()
		return tx.Read(t.Context(), q)
	})
	require.Error(t, err)
	require.True(t, database.IsUnavailable(err), err)
	require.NotErrorIs(t, err, database.ErrCommit)
	require.Zero(t, f.rows(t))
	f.requireUsable(t)
}

// The deadline expires while the server executes the pipeline of the commit.
func TestDeadlineDuringCommit(t *testing.T) {
	t.Parallel()
	f := startTx(t)
	release := f.database.Hold(t, "SELECT pg_advisory_lock(1)")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := f.db.InTx(ctx, func(tx *database.Tx) error {
		insert(tx, 1, 1)
		tx.Queue("wait longer", "SET LOCAL lock_timeout = '20s'")
		tx.Queue("wait", "SELECT pg_advisory_xact_lock($1)", 1)
		return nil
	})
	require.ErrorIs(t, err, database.ErrCommit)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	release()
	f.requireUsable(t)
}
