package live_test

import (
	"database/sql"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/orders/internal/live"
	"gozon/shared/test/servicetest"
)

// remembered is how many delivered changes the hub remembers.
func (f *fixture) remembered(t *testing.T) int {
	t.Helper()
	families, err := f.reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "order_streams_remembered_changes" {
			return int(family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	require.Fail(t, "no such metric")
	return 0
}

// change begins a transaction that has cancelled the order, without a notification.
func (f *fixture) change(t *testing.T, id uuid.UUID) *sql.Tx {
	t.Helper()
	tx, err := f.pool.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() }) // after a commit this does nothing
	_, err = tx.ExecContext(t.Context(), "SET LOCAL idle_in_transaction_session_timeout = 0")
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), `UPDATE orders.orders SET status = 'CANCELLING', version = version + 1,
		changed_in = pg_current_xact_id()::text::bigint WHERE id = $1`, id)
	require.NoError(t, err)
	return tx
}

// one is the only one of ids.
func one(t *testing.T, ids map[uuid.UUID]bool) uuid.UUID {
	t.Helper()
	require.Len(t, ids, 1)
	for id := range ids {
		return id
	}
	return uuid.Nil
}

// A transaction stays open while thousands of orders change: what the hub remembers, and
// what its reconciliations read, is what is new, and not all that changed since the
// transaction began. Nothing is missed, the change of that transaction included, neither
// by a stream nor by one that resumes.
func TestOpenTransactionCostsNeitherMemoryNorReads(t *testing.T) {
	t.Parallel()
	const rounds, each = 12, 250
	f := start(t, 10)
	f.run(t)
	late := one(t, f.place(t, 1, 1))
	_, started, err := f.hub.Follow(t.Context(), 2, 0, 20)
	require.NoError(t, err)
	s := f.follow(t, 1)
	f.listen <- struct{}{}
	tx := f.change(t, late)

	resumes := map[uuid.UUID]bool{} // of user 2
	f.store.read.Store(0)
	for range rounds {
		ids := f.place(t, 1, each)
		var changed []live.Changed
		for id := range ids {
			changed = append(changed, live.Changed{UserID: 1, OrderID: id})
		}
		f.receive <- changed
		expect(t, s, ids)
		resumes[one(t, f.place(t, 2, 1))] = true
		f.listen <- struct{}{}
		servicetest.Eventually(t, func() bool { return f.remembered(t) < each })
	}
	require.Less(t, f.store.read.Load(), int64(3*rounds*each), "read about once each")

	require.NoError(t, tx.Commit())
	f.listen <- struct{}{}
	expect(t, s, map[uuid.UUID]bool{late: true})

	second, resumed, err := f.hub.Follow(t.Context(), 2, started.Watermark, 20)
	require.NoError(t, err)
	defer second.Close()
	require.True(t, resumed.Resumed)
	for _, o := range resumed.Missed {
		delete(resumes, o.ID)
	}
	require.Empty(t, resumes, "missed")
}

// What a stream is given carries a watermark below which it was given everything: also
// while a transaction holds the watermark, a client that resumes by it misses nothing.
func TestWatermarkOfAStreamLiesBelowTheOpenTransaction(t *testing.T) {
	t.Parallel()
	f := start(t, 10)
	f.run(t)
	late := one(t, f.place(t, 1, 1))
	tx := f.change(t, late)
	s := f.follow(t, 1)
	var last live.Batch
	for range 3 {
		ids := f.place(t, 1, 1)
		f.listen <- struct{}{}
		_, last = expect(t, s, ids)
	}
	s.Close()
	require.NoError(t, tx.Commit())
	resumed, begin, err := f.hub.Follow(t.Context(), 1, last.Watermark, 20)
	require.NoError(t, err)
	defer resumed.Close()
	require.True(t, begin.Resumed)
	var versions []int64
	for _, o := range begin.Missed {
		if o.ID == late {
			versions = append(versions, o.Version)
		}
	}
	require.Equal(t, []int64{2}, versions)
}

// A reconciliation with thousands of orders of many users does not cut off a stream that
// gets a few of them while it is slow: they come together, and not one by one in between.
func TestReconciliationOfManyDoesNotCutOffASlowStream(t *testing.T) {
	t.Parallel()
	const users, rounds = 4, 20
	f := start(t, 10)
	f.run(t)
	var streams [users + 1]*live.Stream
	for user := range streams {
		streams[user] = f.follow(t, int64(1+user))
	}
	var placed [users + 1]map[uuid.UUID]bool
	for user := range placed {
		placed[user] = map[uuid.UUID]bool{}
	}
	for range rounds {
		for user := range placed { // one order of the first user, hundreds of the others
			for id := range f.place(t, int64(1+user), min(1+user*75, 80)) {
				placed[user][id] = true
			}
		}
	}
	f.listen <- struct{}{}
	for user, s := range streams {
		batches, _ := expect(t, s, placed[user])
		require.LessOrEqual(t, batches, 7)
	}
}
