package postgres

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gozon/shared/contract/audit"
	"gozon/shared/delivery/database"
)

var errNotStored = errors.New("another replica has stored an audit in the meantime")

// saveAudit stores the differences and up to where everything is verified. It does nothing
// if another replica has stored an audit since a was begun. That one starts where a did.
func (s *Store) saveAudit(ctx context.Context, a *auditing) error {
	err := pgx.BeginFunc(ctx, s.DB.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '5min'"); err != nil {
			return err
		}
		if err := a.savePoint(ctx, tx); err != nil {
			return err
		}
		return a.saveDifferences(ctx, tx)
	})
	if err != nil {
		a.report.Found, a.report.Resolved = nil, nil
	}
	if errors.Is(err, errNotStored) || database.IsBusy(err) {
		return nil
	}
	return err
}

// savePoint moves the verified point, unless there are differences that are not stored. It
// locks the point, so that the transactions of two replicas do not mix.
func (a *auditing) savePoint(ctx context.Context, tx pgx.Tx) error {
	if a.truncated {
		_, err := tx.Exec(ctx, "SELECT FROM payments.audit FOR UPDATE")
		return err
	}
	saved, err := tx.Exec(ctx, `INSERT INTO payments.audit AS a
			(version, snapshot, verified_at, charged_count, charged_sum, failed_count, failed_sum, voided_count, voided_sum)
		VALUES ($1 + 1, $2::text::pg_snapshot, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (id) DO UPDATE SET version = excluded.version, snapshot = excluded.snapshot, verified_at = excluded.verified_at,
			charged_count = excluded.charged_count, charged_sum = excluded.charged_sum, failed_count = excluded.failed_count,
			failed_sum = excluded.failed_sum, voided_count = excluded.voided_count, voided_sum = excluded.voided_sum
		WHERE a.version = $1`,
		a.version, a.snapshot, a.report.CheckedAt, a.charged.Count, a.charged.Sum, a.failed.Count, a.failed.Sum, a.voided.Count, a.voided.Sum)
	if err != nil {
		return err
	}
	if saved.RowsAffected() == 0 {
		return errNotStored
	}
	columns := [6][]int64{}
	for i := range columns {
		columns[i] = make([]int64, len(a.verified))
	}
	for i, v := range a.verified {
		for j, value := range [...]int64{v.user, v.seq, v.balance, v.moneyIn, v.refunds, v.refunded} {
			columns[j][i] = value
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO payments.audit_accounts (user_id, seq, balance, money_in, refunds, refunded)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
		ON CONFLICT (user_id) DO UPDATE SET seq = excluded.seq, balance = excluded.balance,
			money_in = excluded.money_in, refunds = excluded.refunds, refunded = excluded.refunded`,
		columns[0], columns[1], columns[2], columns[3], columns[4], columns[5])
	return err
}

// saveDifferences replaces the stored differences and reports what changed.
func (a *auditing) saveDifferences(ctx context.Context, tx pgx.Tx) error {
	n := len(a.differences)
	ids, kinds, details := make([]string, n), make([]string, n), make([]string, n)
	users, orders := make([]*int64, n), make([]*uuid.UUID, n)
	for i, d := range a.differences {
		ids[i], kinds[i], details[i] = d.ID, d.Kind, d.Detail
		users[i], orders[i] = database.Nullable(d.UserID), database.Nullable(d.OrderID)
	}
	rows, _ := tx.Query(ctx, `DELETE FROM payments.audit_differences WHERE (id, kind) NOT IN (SELECT * FROM unnest($1::text[], $2::text[]))
		RETURNING id, kind, detail`, ids, kinds)
	resolved, err := pgx.CollectRows(rows, pgx.RowToStructByPos[audit.Difference])
	if err != nil {
		return err
	}
	rows, _ = tx.Query(ctx, `INSERT INTO payments.audit_differences (id, kind, detail, user_id, order_id)
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::uuid[]) ON CONFLICT DO NOTHING
		RETURNING id, kind, detail`, ids, kinds, details, users, orders)
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[audit.Difference])
	a.report.Found, a.report.Resolved = found, resolved
	return err
}
