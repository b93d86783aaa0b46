package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gozon/orders/internal/order"
	"gozon/shared/contract/audit"
	"gozon/shared/delivery/database"
)

// comparisonLock is the advisory lock of the comparison. Those of migrations are 32-bit
// numbers, and those of idempotency keys are 64-bit hashes.
const comparisonLock = 1 << 40

// Exclusively implements order.ComparisonStore. The lock belongs to a transaction, which ends
// when the process dies. While it is idle, it has neither a snapshot nor an id, so it holds
// back neither vacuum nor the watermarks of event streams. An audit ends after five minutes.
func (s *Store) Exclusively(ctx context.Context, fn func() error) (ran bool, err error) {
	tx := s.DB.Begin()
	defer tx.Rollback(ctx)
	tx.Queue("lock comparison", "SET LOCAL idle_in_transaction_session_timeout = '6min'")
	lock := database.Select("lock comparison", []any{&ran}, func() {}, "SELECT pg_try_advisory_xact_lock($1)", int64(comparisonLock))
	if err := tx.Read(ctx, lock); err != nil || !ran {
		return false, err
	}
	return true, fn()
}

// Compared implements order.ComparisonStore. It ignores a point whose snapshot is ahead: it
// is of another cluster, from which this database was restored.
func (s *Store) Compared(ctx context.Context) (at order.Compared, open []uuid.UUID, err error) {
	err = s.DB.QueryRow(ctx, `SELECT coalesce(snapshot::text, ''), coalesce(position, $1), ARRAY(SELECT order_id FROM orders.differences)
		FROM (SELECT) AS one LEFT JOIN orders.comparison ON pg_snapshot_xmax(snapshot) <= pg_snapshot_xmax(pg_current_snapshot())`, uuid.Nil).
		Scan(&at.Snapshot, &at.Position, &open)
	if err != nil {
		err = fmt.Errorf("read comparison: %w", err)
	}
	return at, open, err
}

// CurrentSnapshot implements order.ComparisonStore.
func (s *Store) CurrentSnapshot(ctx context.Context) (snapshot string, err error) {
	if err = s.DB.QueryRow(ctx, "SELECT pg_current_snapshot()::text").Scan(&snapshot); err != nil {
		err = fmt.Errorf("read snapshot: %w", err)
	}
	return snapshot, err
}

// OrdersChanged implements order.ComparisonStore.
func (s *Store) OrdersChanged(ctx context.Context, snapshot string, after, to uuid.UUID) ([]order.Order, error) {
	seen, err := parseSnapshot(snapshot)
	if err != nil {
		return nil, fmt.Errorf("snapshot %q: %w", snapshot, err)
	}
	// The condition on the ids is outside, because an index on them may look better to the
	// planner than the one on changes, and would be read from its beginning.
	return s.comparable(ctx, "(SELECT * FROM orders.orders WHERE "+changed+" OFFSET 0) AS o WHERE id > $1 AND id <= $4 ORDER BY id LIMIT $5",
		after, int64(seen.Max), seen.Open, to, audit.PageSize)
}

// OrdersIn implements order.ComparisonStore.
func (s *Store) OrdersIn(ctx context.Context, after, to uuid.UUID) ([]order.Order, error) {
	return s.comparable(ctx, "orders.orders WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3", after, to, audit.PageSize)
}

// OrdersByID implements order.ComparisonStore.
func (s *Store) OrdersByID(ctx context.Context, ids []uuid.UUID) ([]order.Order, error) {
	return s.comparable(ctx, "orders.orders WHERE id = ANY($1::uuid[])", ids)
}

// comparable returns orders with the fields that the comparison needs. Its queries are planned
// for each call, because the best plan depends on how much has changed.
func (s *Store) comparable(ctx context.Context, from string, args ...any) ([]order.Order, error) {
	rows, _ := s.DB.Query(ctx, "SELECT id, user_id, price, status, coalesce(cancel_reason, '') FROM "+from,
		append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
	var orders []order.Order
	var o order.Order
	_, err := pgx.ForEachRow(rows, []any{&o.ID, &o.UserID, &o.Price, &o.Status, &o.CancelReason}, func() error {
		orders = append(orders, o)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	return orders, nil
}

// SaveCompared implements order.ComparisonStore.
func (s *Store) SaveCompared(ctx context.Context, at order.Compared, all []audit.Difference) (found, resolved []audit.Difference, err error) {
	err = pgx.BeginFunc(ctx, s.DB.Pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO orders.comparison (snapshot, position, compared_at) VALUES ($1::text::pg_snapshot, $2, now())
			ON CONFLICT (id) DO UPDATE SET snapshot = excluded.snapshot, position = excluded.position, compared_at = excluded.compared_at`,
			at.Snapshot, at.Position)
		if err != nil {
			return err
		}
		ids := make([]string, len(all))
		for i, d := range all {
			ids[i] = d.ID
		}
		rows, _ := tx.Query(ctx, "DELETE FROM orders.differences WHERE order_id <> ALL($1::text[]::uuid[]) RETURNING order_id::text, kind, detail", ids)
		if resolved, err = collect(rows); err != nil {
			return err
		}
		found, err = addDifferences(ctx, tx, all)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("save comparison: %w", err)
	}
	return found, resolved, nil
}

// AddDifferences implements order.ComparisonStore.
func (s *Store) AddDifferences(ctx context.Context, all []audit.Difference) (found []audit.Difference, err error) {
	if found, err = addDifferences(ctx, s.DB, all); err != nil {
		return nil, fmt.Errorf("save differences: %w", err)
	}
	return found, nil
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func addDifferences(ctx context.Context, db querier, all []audit.Difference) ([]audit.Difference, error) {
	ids, kinds, details := make([]string, len(all)), make([]string, len(all)), make([]string, len(all))
	for i, d := range all {
		ids[i], kinds[i], details[i] = d.ID, d.Kind, d.Detail
	}
	rows, _ := db.Query(ctx, `INSERT INTO orders.differences (order_id, kind, detail)
		SELECT id::uuid, kind, detail FROM unnest($1::text[], $2::text[], $3::text[]) AS d (id, kind, detail)
		ON CONFLICT DO NOTHING RETURNING order_id::text, kind, detail`, ids, kinds, details)
	return collect(rows)
}

// collect reads differences.
func collect(rows pgx.Rows) ([]audit.Difference, error) {
	all := []audit.Difference{}
	var d audit.Difference
	_, err := pgx.ForEachRow(rows, []any{&d.ID, &d.Kind, &d.Detail}, func() error {
		all = append(all, d)
		return nil
	})
	return all, err
}
