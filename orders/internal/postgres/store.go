// Package postgres stores orders in PostgreSQL, in the schema orders.
package postgres

import (
	"context"
	"errors"
	"fmt"
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

// Store implements order.Store, live.Store, watchdog.Store, backlog.Outbox and openorders.Store. It is safe for concurrent use.
type Store struct {
	*delivery.Store
	orders         *database.Table[orderRow]
	insert, update database.Statement[orderRow]
}

// NewStore returns a store whose transactions are those of s.
func NewStore(s *delivery.Store) *Store {
	orders := database.NewTable[orderRow]()
	changedIn := database.Set{Column: "changed_in", Expression: "pg_current_xact_id()::text::bigint"}
	return &Store{
		Store: s, orders: orders,
		insert: orders.Insert(changedIn), update: orders.Update(changedIn),
	}
}

// orderRow is a row of orders. It is the only list of the table's columns.
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
		CancelReason: database.Nullable(string(o.CancelReason)), Version: o.Version, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
		PublishedAt: database.Nullable(o.Saga.PublishedAt), ChargedAt: database.Nullable(o.Saga.ChargedAt), RefusedAt: database.Nullable(o.Saga.RefusedAt),
		ConfirmedAt: database.Nullable(o.Saga.ConfirmedAt), CancelRequestedAt: database.Nullable(o.Saga.CancelRequestedAt), RefundedAt: database.Nullable(o.Saga.RefundedAt),
	}
}

func (r orderRow) order() order.Order {
	return order.Order{
		ID: r.ID, UserID: r.UserID, Item: r.Item, Price: money.Amount(r.Price), Status: order.Status(r.Status),
		CancelReason: order.CancelReason(database.Value(r.CancelReason)), Version: r.Version, CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
		Saga: order.Saga{
			PublishedAt: database.Value(r.PublishedAt).UTC(), ChargedAt: database.Value(r.ChargedAt).UTC(), RefusedAt: database.Value(r.RefusedAt).UTC(),
			ConfirmedAt: database.Value(r.ConfirmedAt).UTC(), CancelRequestedAt: database.Value(r.CancelRequestedAt).UTC(), RefundedAt: database.Value(r.RefundedAt).UTC(),
		},
	}
}

// Order implements order.Store.
func (s *Store) Order(ctx context.Context, id uuid.UUID) (order.Order, error) {
	var row orderRow
	err := s.DB.Gorm.WithContext(ctx).Where("id = ?", id).Take(&row).Error
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
	err := s.DB.Gorm.WithContext(ctx).Where("user_id = ? AND id < ?", user, before).Order("id DESC").Limit(limit).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	orders := make([]order.Order, len(rows))
	for i, r := range rows {
		orders[i] = r.order()
	}
	return orders, nil
}

// OpenOrders implements openorders.Store.
func (s *Store) OpenOrders(ctx context.Context, user int64, newest int) (open int, err error) {
	err = s.DB.Pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE status IN ('NEW', 'CANCELLING'))
		FROM (SELECT status FROM orders.orders WHERE user_id = $1 ORDER BY id DESC LIMIT $2) AS newest`, user, newest).Scan(&open)
	if err != nil {
		return 0, fmt.Errorf("count open orders: %w", err)
	}
	return open, nil
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

func (t *tx) ClaimForUpdate(ctx context.Context, claims, ids []uuid.UUID) (fresh map[uuid.UUID]bool, locked map[uuid.UUID]*order.Order, err error) {
	fresh, claim := t.Claim(claims...)
	locked, lock := t.lock(ids)
	return fresh, locked, t.Read(ctx, claim, lock)
}

func (t *tx) OrdersForUpdate(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]*order.Order, error) {
	locked, lock := t.lock(ids)
	if len(ids) == 0 {
		return locked, nil
	}
	return locked, t.Read(ctx, lock)
}

// lock returns the query that locks orders, and the map that it fills.
func (t *tx) lock(ids []uuid.UUID) (map[uuid.UUID]*order.Order, database.Selection) {
	locked := make(map[uuid.UUID]*order.Order, len(ids))
	return locked, t.store.orders.Select("lock orders", func(r orderRow) {
		o := r.order()
		locked[o.ID] = &o
	}, "WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE", ids)
}

func (t *tx) Insert(_ context.Context, orders ...order.Order) error {
	database.Write(t.Tx.Tx, "insert orders", t.store.insert, newOrderRow, orders)
	t.notify(orders)
	return nil
}

func (t *tx) Update(_ context.Context, orders ...order.Order) error {
	database.Write(t.Tx.Tx, "update orders", t.store.update, newOrderRow, orders)
	t.notify(orders)
	return nil
}
