package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gozon/orders/internal/order"
	"gozon/shared/delivery/database"
)

// Totals implements order.AuditStore. All statements read one snapshot of the database.
//
// Of the orders that are not in flight, it counts the changes since the snapshot of the
// previous call. A changed order was new then, or in flight, or PAID: CANCELLED is final.
func (s *Store) Totals(ctx context.Context, full bool) (order.Audit, error) {
	c := counting{full: full}
	err := pgx.BeginTxFunc(ctx, s.DB.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		c.tx = tx
		return c.read(ctx)
	})
	if err != nil {
		return order.Audit{}, err
	}
	if err := c.save(ctx, s.DB); err != nil {
		return order.Audit{}, err
	}
	return c.report, s.DB.Summarize(ctx, Schema)
}

// counting is one count of the orders.
type counting struct {
	tx     pgx.Tx
	full   bool
	report order.Audit

	version         int64  // of the stored counts; 0 if there are none
	snapshot        string // of this count
	paid, cancelled order.Total
	inFlight        []uuid.UUID

	// Which transactions the stored snapshot does not see: these and all from xmax on.
	xmax int64
	open []int64
}

func (c *counting) read(ctx context.Context) error {
	if _, err := c.tx.Exec(ctx, "SET LOCAL statement_timeout = '5min'"); err != nil { // a full count
		return err
	}
	for _, step := range []func(context.Context) error{c.readPoint, c.readChanged, c.readInFlight, c.readDifferences} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *counting) readPoint(ctx context.Context) error {
	valid := false
	err := c.tx.QueryRow(ctx, `SELECT pg_current_snapshot()::text, now(), coalesce((SELECT compared_at FROM orders.comparison), 'epoch'), coalesce(version, 0),
			coalesce(pg_snapshot_xmax(snapshot) <= pg_snapshot_xmax(pg_current_snapshot()), false),
			coalesce(pg_snapshot_xmax(snapshot)::text::bigint, 0), ARRAY(SELECT x::text::bigint FROM pg_snapshot_xip(snapshot) AS x),
			coalesce(paid_count, 0), coalesce(paid_sum, 0), coalesce(cancelled_count, 0), coalesce(cancelled_sum, 0), coalesce(in_flight, '{}')
		FROM (SELECT) AS one LEFT JOIN orders.audit ON true`).Scan(&c.snapshot, &c.report.CheckedAt, &c.report.ComparedAt, &c.version, &valid, &c.xmax, &c.open,
		&c.paid.Count, &c.paid.Sum, &c.cancelled.Count, &c.cancelled.Sum, &c.inFlight)
	c.report.CheckedAt, c.report.ComparedAt = c.report.CheckedAt.UTC(), c.report.ComparedAt.UTC()
	// The snapshot of another cluster, from which this database was restored, may be ahead.
	if c.full = c.full || !valid; c.full {
		c.paid, c.cancelled, c.inFlight = order.Total{}, order.Total{}, nil
	}
	return err
}

// readChanged adds the changes since the stored snapshot to the counts, and the changed
// orders that are in flight to those that were.
func (c *counting) readChanged(ctx context.Context) error {
	var n [3]order.Total
	var inFlight []uuid.UUID
	err := c.tx.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE status = 'PAID'), coalesce(sum(price) FILTER (WHERE status = 'PAID'), 0)::bigint,
			count(*) FILTER (WHERE status = 'CANCELLED'), coalesce(sum(price) FILTER (WHERE status = 'CANCELLED'), 0)::bigint,
			count(*) FILTER (WHERE was_paid), coalesce(sum(price) FILTER (WHERE was_paid), 0)::bigint,
			coalesce(array_agg(id) FILTER (WHERE status IN ('NEW', 'CANCELLING')), '{}')
		FROM (
			SELECT id, status, price, NOT ($1 OR coalesce(created_in >= $2 OR created_in = ANY($3::bigint[]), false) OR id = ANY($4::uuid[])) AS was_paid
			FROM orders.orders WHERE $1 OR `+changed+`
		) AS o`, pgx.QueryExecModeCacheDescribe, c.full, c.xmax, c.open, c.inFlight).
		Scan(&n[0].Count, &n[0].Sum, &n[1].Count, &n[1].Sum, &n[2].Count, &n[2].Sum, &inFlight)
	c.paid = order.Total{Count: c.paid.Count + n[0].Count - n[2].Count, Sum: c.paid.Sum + n[0].Sum - n[2].Sum}
	c.cancelled = order.Total{Count: c.cancelled.Count + n[1].Count, Sum: c.cancelled.Sum + n[1].Sum}
	c.inFlight = append(c.inFlight, inFlight...)
	return err
}

// changed is the condition for orders with a change that a stored snapshot does not see. The
// upper bound excludes rows that were restored from another cluster.
const changed = "(changed_in >= $2 OR changed_in = ANY($3::bigint[])) AND changed_in < pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

// readInFlight counts the orders that are in flight, out of those that were or may be.
func (c *counting) readInFlight(ctx context.Context) error {
	c.report.Orders = map[order.Status]order.Total{order.StatusNew: {}, order.StatusPaid: c.paid, order.StatusCancelling: {}, order.StatusCancelled: c.cancelled}
	var status order.Status
	var n order.Total
	var overdue int64
	var ids []uuid.UUID
	candidates := c.inFlight
	c.inFlight = nil
	rows, _ := c.tx.Query(ctx, `SELECT status, count(*), sum(price)::bigint, count(*) FILTER (WHERE updated_at < now() - interval '30 s'), array_agg(id)
		FROM orders.orders WHERE id = ANY($1::uuid[]) AND status IN ('NEW', 'CANCELLING') GROUP BY status`, candidates)
	_, err := pgx.ForEachRow(rows, []any{&status, &n.Count, &n.Sum, &overdue, &ids}, func() error {
		c.report.Orders[status] = n
		c.report.InFlight += n.Count
		c.report.Overdue += overdue
		c.inFlight = append(c.inFlight, ids...)
		return nil
	})
	return err
}

func (c *counting) readDifferences(ctx context.Context) error {
	rows, _ := c.tx.Query(ctx, "SELECT order_id::text, kind, detail FROM orders.differences ORDER BY order_id")
	var err error
	c.report.Differences, err = collect(rows)
	return err
}

// save stores the counts, unless another replica has stored some since this count was begun.
func (c *counting) save(ctx context.Context, db *database.DB) error {
	if c.inFlight == nil {
		c.inFlight = []uuid.UUID{}
	}
	_, err := db.Exec(ctx, `INSERT INTO orders.audit AS a (version, snapshot, paid_count, paid_sum, cancelled_count, cancelled_sum, in_flight)
		VALUES ($1 + 1, $2::text::pg_snapshot, $3, $4, $5, $6, $7::uuid[])
		ON CONFLICT (id) DO UPDATE SET version = excluded.version, snapshot = excluded.snapshot, paid_count = excluded.paid_count, paid_sum = excluded.paid_sum,
			cancelled_count = excluded.cancelled_count, cancelled_sum = excluded.cancelled_sum, in_flight = excluded.in_flight
		WHERE a.version = $1`,
		c.version, c.snapshot, c.paid.Count, c.paid.Sum, c.cancelled.Count, c.cancelled.Sum, c.inFlight)
	if err != nil {
		return fmt.Errorf("save counts: %w", err)
	}
	return nil
}
