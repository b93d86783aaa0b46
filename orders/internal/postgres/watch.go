package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/orders/internal/order"
	"gozon/orders/internal/watchdog"
	"gozon/shared/delivery"
	"gozon/shared/delivery/database"
)

const (
	sweepInterval = "interval '0.95 s'" // between the sweeps of all replicas; less than the ticks of one replica
	// interruption is the time without a sweep after which the database may have been
	// restored.
	interruption = "interval '30 s'"
	// commitMargin bounds the time from choosing an order's id to the start of its transaction,
	// in addition to the difference of the clocks. A batch has ten seconds.
	commitMargin = "interval '15 s'"

	// examined is how many orders a sweep examines at most. It is far above the rate at which
	// orders are placed, so that a sweep catches up after an interruption.
	examined = 20000
	// patrolled is how many orders of the past a sweep examines in addition. The patrol costs a
	// millisecond per second and passes a million orders in half an hour.
	patrolled = 500
)

// upsertWatched locks the rows in the order of their ids, like every statement that locks
// several.
const upsertWatched = `INSERT INTO orders.watched (order_id, since, next_at, repeats, repeat_at)
	SELECT order_id, since, next_at, repeats, repeat_at
	FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::bigint[], $5::timestamptz[]) AS w (order_id, since, next_at, repeats, repeat_at)
	ORDER BY order_id ON CONFLICT (order_id) DO UPDATE
	SET since = excluded.since, next_at = excluded.next_at, repeats = excluded.repeats, repeat_at = excluded.repeat_at`

// WatchedForUpdate implements order.Tx. The orders are read by a separate statement, whose
// snapshot is taken after the locks: a cancellation replaces its watched row, so either it has
// committed and its order is seen as CANCELLING, or it waits for this transaction.
func (t *tx) WatchedForUpdate(ctx context.Context, at time.Time, ids ...uuid.UUID) ([]order.Watched, map[uuid.UUID]order.Order, error) {
	var watched []order.Watched
	var w order.Watched
	var repeatAt *time.Time
	lock := database.Select("lock watched orders", []any{&w.OrderID, &w.Since, &w.NextAt, &w.Repeats, &repeatAt}, func() {
		w.RepeatAt = database.Value(repeatAt)
		watched = append(watched, w)
	}, `SELECT order_id, since, next_at, repeats, repeat_at FROM orders.watched
		WHERE order_id = ANY($1::uuid[]) AND next_at <= $2 ORDER BY order_id FOR UPDATE SKIP LOCKED`, ids, at)
	orders := make(map[uuid.UUID]order.Order, len(ids))
	read := t.store.orders.Select("read orders", func(r orderRow) { orders[r.ID] = r.order() }, "WHERE id = ANY($1::uuid[])", ids)
	err := t.Read(ctx, lock, read)
	return watched, orders, err
}

func (t *tx) Watch(_ context.Context, watched ...order.Watched) error {
	if len(watched) == 0 {
		return nil
	}
	n := len(watched)
	ids, repeats := make([]uuid.UUID, n), make([]int64, n)
	since, next, repeatAt := make([]time.Time, n), make([]time.Time, n), make([]*time.Time, n)
	for i, w := range watched {
		ids[i], since[i], next[i], repeats[i], repeatAt[i] = w.OrderID, w.Since, w.NextAt, w.Repeats, database.Nullable(w.RepeatAt)
	}
	t.Queue("watch orders", upsertWatched, ids, since, next, repeats, repeatAt)
	return nil
}

func (t *tx) Unwatch(_ context.Context, ids ...uuid.UUID) error {
	if len(ids) > 0 {
		t.Queue("unwatch orders", "DELETE FROM orders.watched WHERE order_id = ANY($1::uuid[])", ids)
	}
	return nil
}

// trustedFrom is the end of the last interruption. If the current one has not been recorded by
// a sweep yet, it has not ended.
const trustedFrom = `CASE WHEN swept_at < clock_timestamp() - ` + interruption + ` THEN clock_timestamp() ELSE trusted_from END`

// TrustedFrom implements order.Store.
func (s *Store) TrustedFrom(ctx context.Context) (time.Time, error) {
	var from time.Time
	if err := s.DB.QueryRow(ctx, "SELECT "+trustedFrom+" FROM orders.watchdog").Scan(&from); err != nil {
		return time.Time{}, fmt.Errorf("read the last sweep: %w", err)
	}
	return from, nil
}

// beginSweep begins a sweep unless another replica has begun one within the interval. It
// returns how far the sweep may go: an order is examined once and must not be missed because
// its transaction commits later, so a sweep does not go beyond the start of the oldest
// transaction of the service that is still open.
//
// The times are those of the database, so the clocks of the replicas do not matter, except in
// the ids of orders. They may be behind by the limit of overdue orders; the patrol finds what
// an even slower clock has hidden.
const beginSweep = `UPDATE orders.watchdog SET swept_at = clock_timestamp(), trusted_from = ` + trustedFrom + `
	WHERE only_row IN (SELECT only_row FROM orders.watchdog FOR UPDATE SKIP LOCKED)
		AND swept_at NOT BETWEEN clock_timestamp() - ` + sweepInterval + ` AND clock_timestamp()
	RETURNING watermark, patrol,
		least(clock_timestamp() - make_interval(secs => $1), (SELECT min(xact_start) - ` + commitMargin + ` FROM pg_stat_activity
			WHERE datname = current_database() AND usename = current_user AND backend_xid IS NOT NULL AND pid <> pg_backend_pid())),
		coalesce((SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM orders.outbox ORDER BY id LIMIT 1), 0)`

// examine adds those of the orders from $1 to $2 to the watched ones that wait, at most $3. It
// returns the id to continue with.
const examine = `WITH examined AS MATERIALIZED (
		SELECT id, status, created_at, cancel_requested_at FROM orders.orders WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3),
	watched AS (
		INSERT INTO orders.watched (order_id, since, next_at)
		SELECT id, coalesce(cancel_requested_at, created_at), clock_timestamp()
		FROM examined WHERE status IN ('NEW', 'CANCELLING') ON CONFLICT DO NOTHING)
	SELECT CASE WHEN count(*) < $3 THEN greatest($1, $2) ELSE (SELECT id FROM examined ORDER BY id DESC LIMIT 1) END FROM examined`

// Sweep implements watchdog.Store.
func (s *Store) Sweep(ctx context.Context, limit time.Duration) (sweep watchdog.Sweep, err error) {
	err = s.DB.InTx(ctx, func(t *database.Tx) error {
		var watermark, patrol uuid.UUID
		var until time.Time
		var outboxAge float64
		begin := database.Select("begin sweep", []any{&watermark, &patrol, &until, &outboxAge}, func() { sweep.Began = true }, beginSweep, limit.Seconds())
		trusted := database.Select("read sweep", []any{&sweep.TrustedFrom}, func() {}, "SELECT trusted_from FROM orders.watchdog")
		if err := t.Read(ctx, begin, trusted); err != nil || !sweep.Began {
			return err
		}
		sweep.OutboxAge = time.Duration(outboxAge * float64(time.Second))
		// The patrol goes up to the watermark and begins again.
		var next, nextPatrol uuid.UUID
		ahead := database.Select("examine orders", []any{&next}, func() {}, examine, watermark, delivery.FirstIDAt(until), examined)
		behind := database.Select("examine orders", []any{&nextPatrol}, func() {}, examine, patrol, watermark, patrolled)
		if err := t.Read(ctx, ahead, behind); err != nil {
			return err
		}
		if nextPatrol == watermark {
			nextPatrol = uuid.Nil
		}
		t.Queue("end sweep", "UPDATE orders.watchdog SET watermark = $1, patrol = $2", next, nextPatrol)
		return nil
	})
	return sweep, err
}

// Due implements watchdog.Store.
func (s *Store) Due(ctx context.Context, limit int) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	err := s.DB.QueryRow(ctx, `SELECT coalesce(array_agg(order_id), '{}') FROM
		(SELECT order_id FROM orders.watched WHERE next_at <= $1 ORDER BY next_at LIMIT $2) AS due`, time.Now(), limit).Scan(&ids)
	if err != nil {
		return nil, fmt.Errorf("read watched orders: %w", err)
	}
	return ids, nil
}

// Overdue implements watchdog.Store.
func (s *Store) Overdue(ctx context.Context, limit time.Duration) (n int64, oldest time.Duration, err error) {
	var age float64
	err = s.DB.QueryRow(ctx, `SELECT count(*), coalesce(extract(epoch FROM now() - min(since)), 0)::float8
		FROM orders.watched WHERE since <= now() - make_interval(secs => $1)`, limit.Seconds()).Scan(&n, &age)
	if err != nil {
		return 0, 0, fmt.Errorf("count overdue orders: %w", err)
	}
	return n, time.Duration(age * float64(time.Second)), nil
}
