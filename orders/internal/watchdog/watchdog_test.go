package watchdog_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/orders/internal/order"
	"gozon/orders/internal/watchdog"
	"gozon/shared/test/servicetest"
)

const limit = 30 * time.Second

func TestBacklogIsRepeatedAtABoundedRate(t *testing.T) {
	t.Parallel()
	f := setup(t, limit)
	w := f.watchdog()
	const n = 2*watchdog.MaxRepeats + 100
	for range n {
		f.place(t, "NEW", time.Now().Add(-time.Hour))
	}
	f.place(t, "PAID", time.Now().Add(-time.Hour))
	f.place(t, "NEW", time.Now()) // not overdue
	all := map[string]int{}
	for _, want := range []int{watchdog.MaxRepeats, watchdog.MaxRepeats, 100, 0} {
		f.sweep(t, w)
		require.Equal(t, n, f.overdue(t))
		repeated := f.taken(t)
		require.Len(t, repeated, want)
		for id, count := range repeated {
			all[id] += count
		}
	}
	f.elapse(t, 29)
	f.sweep(t, w)
	require.Empty(t, f.taken(t), "the backoff is 30 s")
	for _, count := range all {
		require.Equal(t, 1, count, "at most once per backoff")
	}
	require.Len(t, all, n)
	f.elapse(t, 1)
	f.sweep(t, w)
	require.Len(t, f.taken(t), watchdog.MaxRepeats)
	require.Equal(t, n, f.logged(t), "each order is logged once")

	f.do(t, "UPDATE orders.orders SET status = 'PAID', version = version + 1")
	f.elapse(t, 30)
	f.sweep(t, w)
	require.Empty(t, f.taken(t), "an order that became terminal is not repeated")
	require.Zero(t, f.overdue(t))
	require.Equal(t, "0", f.value(t, "SELECT count(*) FROM orders.watched"))
	require.Equal(t, "2", f.value(t, "SELECT max(version) FROM orders.orders"), "orders are never changed")
}

func TestNothingIsRepeatedWhileTheOutboxIsNotEmptied(t *testing.T) {
	t.Parallel()
	f := setup(t, limit)
	w := f.watchdog()
	const n = 10
	for range n {
		f.place(t, "NEW", time.Now().Add(-time.Hour))
	}
	f.do(t, "INSERT INTO orders.outbox (id, type, subject, data, created_at) VALUES ($1, 'x', 'x', '{}', now() - interval '6 s')", idAt(time.Now()))
	for range 3 {
		f.sweep(t, w)
		f.elapse(t, 600)
	}
	require.Equal(t, "1", f.value(t, "SELECT count(*) FROM orders.outbox"))
	require.Equal(t, n, f.overdue(t))
	require.Equal(t, n, f.logged(t))
	require.Equal(t, map[string]int{"x": 1}, f.taken(t))
	f.sweep(t, w)
	require.Len(t, f.taken(t), n)
	require.Equal(t, n, f.logged(t), "each order is logged once")
}

// Four replicas sweep at the same time. Together they are as fast as one, and no order is
// repeated or logged twice.
func TestReplicasShareTheSweeps(t *testing.T) {
	t.Parallel()
	f := setup(t, limit)
	const n = 2*watchdog.MaxRepeats + 50
	for range n {
		f.place(t, "NEW", time.Now().Add(-time.Hour))
	}
	ctx, stop := context.WithCancel(t.Context())
	var replicas errgroup.Group
	for range 4 {
		w := f.watchdog()
		replicas.Go(func() error { return w.Run(ctx) })
	}
	start, all := time.Now(), map[string]int{}
	servicetest.Eventually(t, func() bool {
		for id, count := range f.taken(t) {
			all[id] += count
		}
		sweeps := int(time.Since(start)/(950*time.Millisecond)) + 1
		require.LessOrEqual(t, len(all), sweeps*watchdog.MaxRepeats)
		return len(all) == n
	})
	stop()
	require.NoError(t, replicas.Wait())
	for id, count := range f.taken(t) {
		all[id] += count
	}
	for _, count := range all {
		require.Equal(t, 1, count)
	}
	require.Equal(t, n, f.logged(t))
}

// A slow sweep is still inspecting orders when the next one begins.
func TestOverlappingSweepsRepeatNothingTwice(t *testing.T) {
	t.Parallel()
	f := setup(t, limit)
	const n = 100
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = f.place(t, "NEW", time.Now().Add(-time.Hour))
	}
	f.do(t, "INSERT INTO orders.watched (order_id, since, next_at) SELECT id, created_at, created_at FROM orders.orders")
	service := order.NewService(f.store)
	for round := range 10 { // the first one mostly waits for connections
		var sweeps errgroup.Group
		for range 8 {
			sweeps.Go(func() error {
				_, err := service.Inspect(t.Context(), ids, order.Policy{Limit: limit})
				return err
			})
		}
		require.NoError(t, sweeps.Wait())
		repeated := f.taken(t)
		require.Len(t, repeated, n)
		for _, count := range repeated {
			require.Equal(t, 1, count, "round %d", round)
		}
		f.elapse(t, 600)
	}
}

// A transaction is still open when the sweeps reach the id of its order.
func TestOrderThatCommitsLateIsNotMissed(t *testing.T) {
	t.Parallel()
	f := setup(t, time.Second)
	w := f.watchdog()
	f.do(t, "UPDATE orders.watchdog SET patrol = 'ffffffff-ffff-ffff-ffff-ffffffffffff'") // it would find the order, too
	tx, err := f.database.As(t, "orders").BeginTx(t.Context(), nil)
	require.NoError(t, err)
	placed := time.Now()
	id := idAt(placed)
	_, err = tx.ExecContext(t.Context(), insertOrder, id, "NEW", placed)
	require.NoError(t, err)
	servicetest.Eventually(t, func() bool { return time.Since(placed) > 2*f.limit })
	for range 3 {
		f.sweep(t, w)
	}
	require.NoError(t, tx.Commit())
	f.sweep(t, w)
	require.Equal(t, map[string]int{id.String(): 1}, f.taken(t))
}

// Orders below the watermark: one that an installation had before the watchdog, and one that
// the previous version of the service cancels.
func TestPatrolFindsOldOrders(t *testing.T) {
	t.Parallel()
	f := setup(t, limit)
	w := f.watchdog()
	old := f.place(t, "NEW", time.Now().Add(-48*time.Hour))
	paid := f.place(t, "PAID", time.Now().Add(-time.Hour))
	for range 600 { // more than the patrol examines at once
		f.place(t, "PAID", time.Now().Add(-47*time.Hour))
	}
	f.sweep(t, w)
	require.Equal(t, map[string]int{old.String(): 1}, f.taken(t))
	f.do(t, "UPDATE orders.orders SET status = 'CANCELLING', cancel_requested_at = now() - interval '1 minute' WHERE id = $1", paid)
	for range 3 {
		f.sweep(t, w)
	}
	require.Equal(t, map[string]int{paid.String(): 1}, f.taken(t))
}

func TestOrderThatCausesAnErrorDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	f := setup(t, limit)
	w := f.watchdog()
	const n = 20
	var bad, locked uuid.UUID
	for range n {
		bad = f.place(t, "NEW", time.Now().Add(-time.Hour))
	}
	locked = f.place(t, "NEW", time.Now().Add(-time.Hour))
	f.do(t, "INSERT INTO orders.watched (order_id, since, next_at) SELECT id, created_at, created_at FROM orders.orders")
	f.database.Do(t, `CREATE FUNCTION orders.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'bad order'; END $$`)
	f.database.Do(t, `CREATE TRIGGER fail BEFORE UPDATE ON orders.watched FOR EACH ROW WHEN (NEW.order_id = '`+bad.String()+`') EXECUTE FUNCTION orders.fail()`)
	release := f.database.Hold(t, "SELECT FROM orders.watched WHERE order_id = $1 FOR UPDATE", locked)
	f.sweep(t, w)
	require.Len(t, f.taken(t), n-1)
	require.Contains(t, f.log.String(), "bad order")
	release()
	f.sweep(t, w)
	require.Equal(t, map[string]int{locked.String(): 1}, f.taken(t))
	f.database.Do(t, "DROP FUNCTION orders.fail() CASCADE")
	f.sweep(t, w)
	require.Equal(t, map[string]int{bad.String(): 1}, f.taken(t))
}
