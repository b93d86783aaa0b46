// Package postgres keeps orders in PostgreSQL, in the schema orders.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"gozon/orders/internal/order"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/database"
	"gozon/shared/inbox"
	"gozon/shared/keystore"
	"gozon/shared/outbox"
)

// Schema that the service's tables live in.
const Schema = "orders"

// Inbox, Outbox and Keys of the service.
var (
	Inbox  = inbox.New(Schema)
	Outbox = outbox.New(Schema, "gozon/orders")
	Keys   = keystore.New(Schema)
)

// Store implements order.Store. It is safe for concurrent use.
type Store struct {
	db      *gorm.DB
	emitted func()
}

// NewStore works on db; emitted is called after each commit that wrote events.
func NewStore(db *gorm.DB, emitted func()) *Store { return &Store{db, emitted} }

type orderRow struct {
	ID                uuid.UUID
	UserID            int64
	Item              string
	Price             int64
	Status            string
	CancelReason      *string
	Version           int64
	CreatedAt         time.Time
	UpdatedAt         time.Time
	PublishedAt       *time.Time
	ChargedAt         *time.Time
	RefusedAt         *time.Time
	ConfirmedAt       *time.Time
	CancelRequestedAt *time.Time
	RefundedAt        *time.Time
	ChangedIn         int64
}

const columns = `id, user_id, item, price, status, cancel_reason, version, created_at, updated_at,
	published_at, charged_at, refused_at, confirmed_at, cancel_requested_at, refunded_at, changed_in`

// fields are where the columns are scanned to.
func (r *orderRow) fields() []any {
	return []any{
		&r.ID, &r.UserID, &r.Item, &r.Price, &r.Status, &r.CancelReason, &r.Version, &r.CreatedAt, &r.UpdatedAt,
		&r.PublishedAt, &r.ChargedAt, &r.RefusedAt, &r.ConfirmedAt, &r.CancelRequestedAt, &r.RefundedAt, &r.ChangedIn,
	}
}

// TableName implements gorm's Tabler.
func (orderRow) TableName() string { return Schema + ".orders" }

func (r orderRow) toOrder() order.Order {
	o := order.Order{
		ID: r.ID, UserID: r.UserID, Item: r.Item, Price: money.Amount(r.Price), Status: order.Status(r.Status),
		Version: r.Version, CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), ChangedIn: order.Watermark(r.ChangedIn),
		Saga: order.Saga{
			PublishedAt: utc(r.PublishedAt), ChargedAt: utc(r.ChargedAt), RefusedAt: utc(r.RefusedAt),
			ConfirmedAt: utc(r.ConfirmedAt), CancelRequestedAt: utc(r.CancelRequestedAt), RefundedAt: utc(r.RefundedAt),
		},
	}
	if r.CancelReason != nil {
		o.CancelReason = order.CancelReason(*r.CancelReason)
	}
	return o
}

// utc is a nullable time as the domain has it: zero when it is null.
func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func nullable(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
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

// Orders implements order.Store.
func (s *Store) Orders(ctx context.Context, ids ...uuid.UUID) ([]order.Order, error) {
	return all(query(ctx, s.db.WithContext(ctx).Statement.ConnPool, "WHERE id = ANY($1::uuid[])", ids))
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

// Snapshot implements order.Store.
func (s *Store) Snapshot(ctx context.Context) (order.Snapshot, error) {
	var text string
	if err := s.db.WithContext(ctx).Raw("SELECT pg_current_snapshot()::text").Scan(&text).Error; err != nil {
		return order.Snapshot{}, fmt.Errorf("read snapshot: %w", err)
	}
	snapshot, err := parseSnapshot(text)
	if err != nil {
		return order.Snapshot{}, fmt.Errorf("read snapshot %q: %w", text, err)
	}
	return snapshot, nil
}

// parseSnapshot reads PostgreSQL's "xmin:xmax:xid,xid,…".
func parseSnapshot(text string) (order.Snapshot, error) {
	var ids []order.Watermark
	for field := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ':' || r == ',' }) {
		id, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return order.Snapshot{}, err
		}
		ids = append(ids, order.Watermark(id))
	}
	if len(ids) < 2 {
		return order.Snapshot{}, errors.New("it has no bounds")
	}
	return order.Snapshot{Min: ids[0], Max: ids[1], Open: ids[2:]}, nil
}

// ChangedSince implements order.Store. It is planned each time: what is best for one
// user is not for thousands, and a plan for any would read all orders of them. The upper
// bound leaves out what another cluster wrote, before a restore.
func (s *Store) ChangedSince(ctx context.Context, since order.Snapshot, limit int, users ...int64) iter.Seq2[order.Order, error] {
	return query(ctx, s.db.WithContext(ctx).Statement.ConnPool, `
		WHERE user_id = ANY($1::bigint[]) AND (changed_in >= $2 OR changed_in = ANY($3::bigint[]))
			AND changed_in < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
		ORDER BY user_id LIMIT nullif($4::bigint, 0)`, pgx.QueryExecModeCacheDescribe, users, int64(since.Max), since.Open, limit)
}

// query reads orders one by one.
func query(ctx context.Context, conn database.Conn, where string, args ...any) iter.Seq2[order.Order, error] {
	return func(yield func(order.Order, error) bool) {
		rows, err := conn.QueryContext(ctx, "SELECT "+columns+" FROM orders.orders "+where, args...)
		if err != nil {
			yield(order.Order{}, fmt.Errorf("read orders: %w", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var r orderRow
			if err := rows.Scan(r.fields()...); err != nil {
				yield(order.Order{}, fmt.Errorf("read orders: %w", err))
				return
			}
			if !yield(r.toOrder(), nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(order.Order{}, fmt.Errorf("read orders: %w", err))
		}
	}
}

func all(orders iter.Seq2[order.Order, error]) ([]order.Order, error) {
	var found []order.Order
	for o, err := range orders {
		if err != nil {
			return nil, err
		}
		found = append(found, o)
	}
	return found, nil
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
