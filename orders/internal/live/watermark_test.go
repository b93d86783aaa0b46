package live_test

import (
	"database/sql"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/orders/internal/live"
	"gozon/shared/test/servicetest"
)

// rememberedChanges returns the number of delivered changes that the hub remembers.
func (f *fixture) rememberedChanges(t *testing.T) int {
	t.Helper()
	families, err := f.reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "order_streams_remembered_changes" {
			return int(family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	require.Fail(t, "the metric is missing")
	return 0
}

// beginChange returns an open transaction that has started the cancellation of an order. It
// sends no notification.
func (f *fixture) beginChange(t *testing.T, id uuid.UUID) *sql.Tx {
	t.Helper()
	tx, err := f.pool.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() }) // a no-op after a commit
	_, err = tx.ExecContext(t.Context(), "SET LOCAL idle_in_transaction_session_timeout = 0")
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), `UPDATE orders.orders SET status = 'CANCELLING', version = version + 1,
		changed_in = pg_current_xact_id()::text::bigint WHERE id = $1`, id)
	require.NoError(t, err)
	return tx
}

// onlyID returns the only id of a set.
func onlyID(t *testing.T, ids map[uuid.UUID]bool) uuid.UUID {
	t.Helper()
	require.Len(t, ids, 1)
	for id := range ids {
		return id
	}
	return uuid.Nil
}

// A transaction stays open while thousands of orders change. The hub remembers and reads only
// new changes, not all changes since the transaction started. Neither an open stream nor one
// that resumes misses a change. The change of the open transaction is delivered after its
// commit.
func TestOpenTransactionCostsNeitherMemoryNorReads(t *testing.T) {
	t.Parallel()
	const rounds, each = 12, 250
	f := start(t, 10)
	f.run(t)
	late := onlyID(t, f.place(t, 1, 1))
	_, first, err := f.hub.Follow(t.Context(), 2, 0, 20, newFollower())
	require.NoError(t, err)
	s := f.follow(t, 1)
	f.listen <- struct{}{}
	tx := f.beginChange(t, late)

	missed := map[uuid.UUID]bool{} // orders of user 2, who is not connected
	f.store.reads.Store(0)
	for range rounds {
		ids := f.place(t, 1, each)
		var changed []live.Changed
		for id := range ids {
			changed = append(changed, live.Changed{UserID: 1, OrderID: id})
		}
		f.receive <- changed
		requireDelivered(t, s, ids)
		missed[onlyID(t, f.place(t, 2, 1))] = true
		f.listen <- struct{}{}
		servicetest.Eventually(t, func() bool { return f.rememberedChanges(t) < each })
	}
	require.Less(t, f.store.reads.Load(), int64(3*rounds*each), "each order is read about once")

	require.NoError(t, tx.Commit())
	f.listen <- struct{}{}
	requireDelivered(t, s, map[uuid.UUID]bool{late: true})

	resumed, start, err := f.hub.Follow(t.Context(), 2, first.Watermark, 20, newFollower())
	require.NoError(t, err)
	defer resumed.Close()
	require.True(t, start.Resumed)
	for _, o := range start.Missed {
		delete(missed, o.ID)
	}
	require.Empty(t, missed, "the resumed stream missed orders")
}

// The watermark of a batch stays below an open transaction. A client that resumes with it
// after the commit receives the change of that transaction.
func TestStreamWatermarkStaysBelowAnOpenTransaction(t *testing.T) {
	t.Parallel()
	f := start(t, 10)
	f.run(t)
	late := onlyID(t, f.place(t, 1, 1))
	tx := f.beginChange(t, late)
	s := f.follow(t, 1)
	var last live.Batch
	for range 3 {
		ids := f.place(t, 1, 1)
		f.listen <- struct{}{}
		_, last = requireDelivered(t, s, ids)
	}
	s.Close()
	require.NoError(t, tx.Commit())
	resumed, start, err := f.hub.Follow(t.Context(), 1, last.Watermark, 20, newFollower())
	require.NoError(t, err)
	defer resumed.Close()
	require.True(t, start.Resumed)
	var versions []int64
	for _, o := range start.Missed {
		if o.ID == late {
			versions = append(versions, o.Version)
		}
	}
	require.Equal(t, []int64{2}, versions)
}

// A reconciliation of thousands of orders of several users sends each stream its orders in few
// batches, so a slow stream is not closed.
func TestLargeReconciliationDoesNotCloseASlowStream(t *testing.T) {
	t.Parallel()
	const users, rounds = 4, 20
	f := start(t, 10)
	f.run(t)
	var streams [users + 1]follower
	for user := range streams {
		streams[user] = f.follow(t, int64(1+user))
	}
	var placed [users + 1]map[uuid.UUID]bool
	for user := range placed {
		placed[user] = map[uuid.UUID]bool{}
	}
	for range rounds {
		for user := range placed { // each round: 1 order of the first user, 76 or 80 of each other user
			for id := range f.place(t, int64(1+user), min(1+user*75, 80)) {
				placed[user][id] = true
			}
		}
	}
	f.listen <- struct{}{}
	for user, s := range streams {
		batches, _ := requireDelivered(t, s, placed[user])
		require.LessOrEqual(t, batches, 7)
	}
}
