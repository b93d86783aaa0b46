// Package postgres keeps orders in PostgreSQL, in the schema orders.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"gozon/orders/internal/order"
	"gozon/shared/contract/money"
	"gozon/shared/delivery"
	"gozon/shared/delivery/database"
)

// Schema is the schema of the service's tables.
const Schema = "orders"

// Store implements order.Store and live.Store. It is safe for concurrent use.
type Store struct {
	*delivery.Store
	orders         *database.Table[orderRow]
	insert, update string
}

// NewStore returns a store whose transactions are those of s.
func NewStore(s *delivery.Store) *Store {
	orders := database.NewTable[orderRow]()
	changedIn := database.Set{Column: "changed_in", Expression: "pg_current_xact_id()::text::bigint"}
	return &Store{
		Store: s, orders: orders,
		insert: notify(orders.InsertStatement(changedIn)), update: notify(orders.UpdateStatement(changedIn)),
	}
}

// orderRow is the only list of the table's columns.
type orderRow struct {
	ID                uuid.UUID `gorm:"primaryKey"`
	UserID            int64     `gorm:"<-:create"`
	Item              string    `gorm:"<-:create"`
	Price             int64     `gorm:"<-:create"`
	Status            string
	CancelReason      *string
	Version           int64
	CreatedAt         time.Time `gorm:"<-:create"`
	UpdatedAt         time.Time
	PublishedAt       *time.Time
	ChargedAt         *time.Time
	RefusedAt         *time.Time
	ConfirmedAt       *time.Time
	CancelRequestedAt *time.Time
	RefundedAt        *time.Time
	ChangedIn         int64 `gorm:"->"` // set by each write
}

// TableName implements gorm's Tabler.
func (orderRow) TableName() string { return Schema + ".orders" }

func newOrderRow(o order.Order) orderRow {
	return orderRow{
		ID: o.ID, UserID: o.UserID, Item: o.Item, Price: int64(o.Price), Status: string(o.Status),
		CancelReason: nullable(string(o.CancelReason)), Version: o.Version, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
		PublishedAt: nullable(o.Saga.PublishedAt), ChargedAt: nullable(o.Saga.ChargedAt), RefusedAt: nullable(o.Saga.RefusedAt),
		ConfirmedAt: nullable(o.Saga.ConfirmedAt), CancelRequestedAt: nullable(o.Saga.CancelRequestedAt), RefundedAt: nullable(o.Saga.RefundedAt),
	}
}

func (r orderRow) order() order.Order {
	return order.Order{
		ID: r.ID, UserID: r.UserID, Item: r.Item, Price: money.Amount(r.Price), Status: order.Status(r.Status),
		CancelReason: order.CancelReason(value(r.CancelReason)), Version: r.Version, CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
		Saga: order.Saga{
			PublishedAt: value(r.PublishedAt).UTC(), ChargedAt: value(r.ChargedAt).UTC(), RefusedAt: value(r.RefusedAt).UTC(),
			ConfirmedAt: value(r.ConfirmedAt).UTC(), CancelRequestedAt: value(r.CancelRequestedAt).UTC(), RefundedAt: value(r.RefundedAt).UTC(),
		},
	}
}

// nullable returns nil for the zero value, which a column stores as NULL.
func nullable[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// value is the inverse of nullable.
func value[T any](p *T) T {
	var v T
	if p != nil {
		v = *p
	}
	return v
}

// Order implements order.Store.
func (s *Store) Order(ctx context.Context, id uuid.UUID) (order.Order, error) {
	var row orderRow
	err := s.DB.WithContext(ctx).Where("id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return order.Order{}, order.ErrNotFound
	}
	if err != nil {
		return order.Order{}, fmt.Errorf("read order: %w", err)
	}
	return row.order(), nil
}

// OrdersOf implements order.Store.
func (s *Store) OrdersOf(ctx context.Context, user int64, before uuid.UUID, limit int) ([]order.Order, error) {
	var rows []orderRow
	err := s.DB.WithContext(ctx).Where("user_id = ? AND id < ?", user, before).Order("id DESC").Limit(limit).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	orders := make([]order.Order, len(rows))
	for i, r := range rows {
		orders[i] = r.order()
	}
	return orders, nil
}

// InTx implements order.Store.
func (s *Store) InTx(ctx context.Context, fn func(order.Tx) error) error {
	return s.Store.InTx(ctx, func(t *delivery.Tx) error { return fn(&tx{t, s}) })
}

// tx implements order.Tx.
type tx struct {
	*delivery.Tx
	store *Store
}

func (t *tx) OrdersForUpdate(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]*order.Order, error) {
	locked := make(map[uuid.UUID]*order.Order, len(ids))
	if len(ids) == 0 {
		return locked, nil
	}
	for r, err := range t.store.orders.Query(ctx, t, "WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE", ids) {
		if err != nil {
			return nil, fmt.Errorf("lock orders: %w", err)
		}
		o := r.order()
		locked[o.ID] = &o
	}
	return locked, nil
}

func (t *tx) Insert(ctx context.Context, orders ...order.Order) error {
	return t.write(ctx, t.store.insert, t.store.orders.InsertArgs, orders)
}

func (t *tx) Update(ctx context.Context, orders ...order.Order) error {
	return t.write(ctx, t.store.update, t.store.orders.UpdateArgs, orders)
}

func (t *tx) write(ctx context.Context, statement string, args func([]orderRow) []any, orders []order.Order) error {
	if len(orders) == 0 {
		return nil
	}
	rows := make([]orderRow, len(orders))
	for i, o := range orders {
		rows[i] = newOrderRow(o)
	}
	if _, err := t.ExecContext(ctx, statement, args(rows)...); err != nil {
		return fmt.Errorf("write orders: %w", err)
	}
	return nil
}

// collect reads all rows of a query.
func collect[R, T any](rows iter.Seq2[R, error], convert func(R) T) ([]T, error) {
	var all []T
	for r, err := range rows {
		if err != nil {
			return nil, err
		}
		all = append(all, convert(r))
	}
	return all, nil
}
