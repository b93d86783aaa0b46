package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/orders/internal/order"
	"gozon/shared/contract/events"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/idempotency"
)

// tx implements order.Tx. Sets travel as arrays: one statement, one text and so
// one cached plan, whatever their size.
type tx struct {
	conn    database.Conn
	emitted bool
}

func (t *tx) Claim(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]bool, error) {
	return Inbox.Claim(ctx, t.conn, ids...)
}

func (t *tx) ClaimKeys(ctx context.Context, keys ...idempotency.Key) (map[idempotency.ID]*idempotency.Kept, error) {
	return Keys.Claim(ctx, t.conn, keys...)
}

func (t *tx) KeepResults(ctx context.Context, kept ...idempotency.Kept) error {
	return Keys.Keep(ctx, t.conn, kept...)
}

func (t *tx) Emit(ctx context.Context, evs ...events.Event) error {
	t.emitted = t.emitted || len(evs) > 0
	return Outbox.Append(ctx, t.conn, evs...)
}

func (t *tx) OrdersForUpdate(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]*order.Order, error) {
	found, err := all(query(ctx, t.conn, "WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE", ids))
	if err != nil {
		return nil, fmt.Errorf("lock orders: %w", err)
	}
	locked := make(map[uuid.UUID]*order.Order, len(found))
	for i := range found {
		locked[found[i].ID] = &found[i]
	}
	return locked, nil
}

// notify makes a statement of a change, which is to return the user_id and id of each
// order that it changed, tell it to the listeners of [Channel] once it is committed.
// It costs no round trip; what is told at once is bounded below the 8,000 bytes that
// one notification may have.
func notify(change string) string {
	return `WITH changed AS (` + change + ` RETURNING o.user_id, o.id)
		SELECT pg_notify('` + Channel + `', string_agg(user_id || ' ' || id, ','))
		FROM (SELECT user_id, id, row_number() OVER () / 128 AS part FROM changed) AS numbered GROUP BY part`
}

var (
	insertOrders = notify(`
		INSERT INTO orders.orders AS o (id, user_id, item, price, status, version, created_at, updated_at, changed_in)
		SELECT id, user_id, item, price, status, version, at, at, pg_current_xact_id()::text::bigint
		FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::timestamptz[])
			AS n (id, user_id, item, price, status, version, at)`)
	updateOrders = notify(`
		UPDATE orders.orders AS o
		SET status = n.status, cancel_reason = nullif(n.reason, ''), version = n.version, updated_at = n.at,
			published_at = n.published_at, charged_at = n.charged_at, refused_at = n.refused_at, confirmed_at = n.confirmed_at,
			cancel_requested_at = n.cancel_requested_at, refunded_at = n.refunded_at, changed_in = pg_current_xact_id()::text::bigint
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
			$8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[])
			AS n (id, status, reason, version, at, published_at, charged_at, refused_at, confirmed_at, cancel_requested_at, refunded_at)
		WHERE o.id = n.id`)
)

func (t *tx) Insert(ctx context.Context, orders ...order.Order) error {
	n := len(orders)
	ids, users, items, prices := make([]uuid.UUID, n), make([]int64, n), make([]string, n), make([]int64, n)
	statuses, versions, times := make([]string, n), make([]int64, n), make([]time.Time, n)
	for i, o := range orders {
		ids[i], users[i], items[i], prices[i] = o.ID, o.UserID, o.Item, int64(o.Price)
		statuses[i], versions[i], times[i] = string(o.Status), o.Version, o.CreatedAt
	}
	if _, err := t.conn.ExecContext(ctx, insertOrders, ids, users, items, prices, statuses, versions, times); err != nil {
		return fmt.Errorf("insert orders: %w", err)
	}
	return nil
}

func (t *tx) Update(ctx context.Context, orders ...order.Order) error {
	n := len(orders)
	if n == 0 {
		return nil
	}
	ids, statuses, reasons := make([]uuid.UUID, n), make([]string, n), make([]string, n)
	versions, times := make([]int64, n), make([]time.Time, n)
	published, charged, refused := make([]*time.Time, n), make([]*time.Time, n), make([]*time.Time, n)
	confirmed, requested, refunded := make([]*time.Time, n), make([]*time.Time, n), make([]*time.Time, n)
	for i, o := range orders {
		ids[i], statuses[i], reasons[i] = o.ID, string(o.Status), string(o.CancelReason)
		versions[i], times[i] = o.Version, o.UpdatedAt
		published[i], charged[i], refused[i] = nullable(o.Saga.PublishedAt), nullable(o.Saga.ChargedAt), nullable(o.Saga.RefusedAt)
		confirmed[i], requested[i], refunded[i] = nullable(o.Saga.ConfirmedAt), nullable(o.Saga.CancelRequestedAt), nullable(o.Saga.RefundedAt)
	}
	_, err := t.conn.ExecContext(ctx, updateOrders, ids, statuses, reasons, versions, times,
		published, charged, refused, confirmed, requested, refunded)
	if err != nil {
		return fmt.Errorf("update orders: %w", err)
	}
	return nil
}
