// Package postgres keeps orders in PostgreSQL, in the schema orders.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"gozon/orders/internal/order"
	"gozon/shared/database"
	"gozon/shared/events"
	"gozon/shared/inbox"
	"gozon/shared/money"
	"gozon/shared/outbox"
)

// Schema that the service's tables live in.
const Schema = "orders"

// Inbox and Outbox of the service.
var (
	Inbox  = inbox.New(Schema)
	Outbox = outbox.New(Schema, "gozon/orders")
)

// Store implements order.Store. It is safe for concurrent use.
type Store struct {
	db      *gorm.DB
	emitted func()
}

// NewStore works on db; emitted is called after each commit that wrote events.
func NewStore(db *gorm.DB, emitted func()) *Store { return &Store{db, emitted} }

type orderRow struct {
	ID           uuid.UUID
	UserID       int64
	Item         string
	Price        int64
	Status       string
	CancelReason *string
	Version      int64
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// TableName implements gorm's Tabler.
func (orderRow) TableName() string { return Schema + ".orders" }

func (r orderRow) toOrder() order.Order {
	o := order.Order{
		ID: r.ID, UserID: r.UserID, Item: r.Item, Price: money.Amount(r.Price), Status: order.Status(r.Status),
		Version: r.Version, CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
	if r.CancelReason != nil {
		o.CancelReason = order.CancelReason(*r.CancelReason)
	}
	return o
}

// Order implements order.Store.
func (s *Store) Order(ctx context.Context, id uuid.UUID) (order.Order, error) {
	var row orderRow
	err := s.db.WithContext(ctx).Where("id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return order.Order{}, order.ErrNotFound
	}
	if err != nil {
		return order.Order{}, fmt.Errorf("read order: %w", err)
	}
	return row.toOrder(), nil
}

// OrdersOf implements order.Store.
func (s *Store) OrdersOf(ctx context.Context, user int64, before uuid.UUID, limit int) ([]order.Order, error) {
	var rows []orderRow
	err := s.db.WithContext(ctx).Where("user_id = ? AND id < ?", user, before).Order("id DESC").Limit(limit).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	orders := make([]order.Order, len(rows))
	for i, r := range rows {
		orders[i] = r.toOrder()
	}
	return orders, nil
}

// InTx implements order.Store.
func (s *Store) InTx(ctx context.Context, fn func(order.Tx) error) error {
	var t tx
	err := database.InTx(ctx, s.db, func(db *gorm.DB) error {
		t = tx{conn: db.Statement.ConnPool}
		return fn(&t)
	})
	if err == nil && t.emitted {
		s.emitted()
	}
	return err
}

// tx implements order.Tx. Sets travel as arrays: one statement, one text and so
// one cached plan, whatever their size.
type tx struct {
	conn    database.Conn
	emitted bool
}

func (t *tx) Claim(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]bool, error) {
	return Inbox.Claim(ctx, t.conn, ids...)
}

func (t *tx) Emit(ctx context.Context, evs ...events.Event) error {
	t.emitted = true
	return Outbox.Append(ctx, t.conn, evs...)
}

func (t *tx) OrdersForUpdate(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]*order.Order, error) {
	rows, err := t.conn.QueryContext(ctx, `
		SELECT id, user_id, item, price, status, cancel_reason, version, created_at, updated_at
		FROM orders.orders WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE`, ids)
	if err != nil {
		return nil, fmt.Errorf("lock orders: %w", err)
	}
	defer rows.Close()
	locked := make(map[uuid.UUID]*order.Order, len(ids))
	for rows.Next() {
		var r orderRow
		if err := rows.Scan(&r.ID, &r.UserID, &r.Item, &r.Price, &r.Status, &r.CancelReason, &r.Version, &r.CreatedAt, &r.UpdatedAt); err != nil {
			return nil, fmt.Errorf("lock orders: %w", err)
		}
		o := r.toOrder()
		locked[o.ID] = &o
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("lock orders: %w", err)
	}
	return locked, nil
}

func (t *tx) Insert(ctx context.Context, orders ...order.Order) error {
	n := len(orders)
	ids, users, items, prices := make([]uuid.UUID, n), make([]int64, n), make([]string, n), make([]int64, n)
	statuses, versions, times := make([]string, n), make([]int64, n), make([]time.Time, n)
	for i, o := range orders {
		ids[i], users[i], items[i], prices[i] = o.ID, o.UserID, o.Item, int64(o.Price)
		statuses[i], versions[i], times[i] = string(o.Status), o.Version, o.CreatedAt
	}
	_, err := t.conn.ExecContext(ctx, `
		INSERT INTO orders.orders (id, user_id, item, price, status, version, created_at, updated_at)
		SELECT id, user_id, item, price, status, version, at, at
		FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::timestamptz[])
			AS o (id, user_id, item, price, status, version, at)`,
		ids, users, items, prices, statuses, versions, times)
	if err != nil {
		return fmt.Errorf("insert orders: %w", err)
	}
	return nil
}

func (t *tx) Update(ctx context.Context, orders ...order.Order) error {
	if len(orders) == 0 {
		return nil
	}
	n := len(orders)
	ids, statuses, reasons := make([]uuid.UUID, n), make([]string, n), make([]string, n)
	versions, times := make([]int64, n), make([]time.Time, n)
	for i, o := range orders {
		ids[i], statuses[i], reasons[i] = o.ID, string(o.Status), string(o.CancelReason)
		versions[i], times[i] = o.Version, o.UpdatedAt
	}
	_, err := t.conn.ExecContext(ctx, `
		UPDATE orders.orders AS o
		SET status = n.status, cancel_reason = nullif(n.reason, ''), version = n.version, updated_at = n.at
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[]) AS n (id, status, reason, version, at)
		WHERE o.id = n.id`,
		ids, statuses, reasons, versions, times)
	if err != nil {
		return fmt.Errorf("update orders: %w", err)
	}
	return nil
}
