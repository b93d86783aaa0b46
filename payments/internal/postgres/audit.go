package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gozon/payments/internal/payment"
	"gozon/shared/contract/audit"
	"gozon/shared/contract/money"
)

// Audit verifies accounts, payments and entries in one snapshot of the database, and stores
// up to where they are verified. It verifies what is new since the previous audit, and
// everything if full is true or there was none. Any number of replicas may audit at once.
//
// What is new is exact, whatever was uncommitted at the previous audit. The entries of an
// account are committed in their order, under its lock, so a snapshot sees all of them up to
// the newest. Payments are new if the previous snapshot did not see the transaction that
// created them. A payment and the entry of its charge are written by one transaction, so
// either both are new or none.
//
// The accounts and orders of known differences are verified from the beginning each time.
func (s *Store) Audit(ctx context.Context, full bool) (payment.Audit, error) {
	a := auditing{full: full, report: payment.Audit{Payments: map[payment.Status]payment.Total{}}}
	err := pgx.BeginTxFunc(ctx, s.DB.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		a.tx = tx
		return a.read(ctx)
	})
	if err != nil {
		return payment.Audit{}, fmt.Errorf("audit: %w", err)
	}
	if err := s.saveAudit(ctx, &a); err != nil {
		return payment.Audit{}, fmt.Errorf("save audit: %w", err)
	}
	return a.report, s.DB.Summarize(ctx, Schema)
}

// auditing is one audit.
type auditing struct {
	tx     pgx.Tx
	full   bool
	report payment.Audit

	version  int64  // of the stored audit; 0 if there is none
	snapshot string // of this one
	// Which transactions the stored snapshot does not see: these and all from xmax on.
	xmax int64
	open []int64

	charged, failed, voided payment.Total // of all verified payments
	refunded                payment.Total // of all refund entries

	suspectUsers  []int64 // of known differences
	suspectOrders []uuid.UUID
	users, from   []int64 // the accounts with new entries, and their seq before these

	verified    []verifiedAccount // that changed
	differences []payment.Difference
	truncated   bool // there are more differences
}

// verifiedAccount is a row of audit_accounts.
type verifiedAccount struct{ user, seq, balance, moneyIn, refunds, refunded int64 }

func (a *auditing) read(ctx context.Context) error {
	// The planner may read whole tables where an audit must: accounts, and everything when it
	// is full. Statements of a full audit take as long as they need; the caller bounds them.
	if _, err := a.tx.Exec(ctx, "SET LOCAL enable_seqscan = on; SET LOCAL statement_timeout = '5min'; SET LOCAL work_mem = '32MB'"); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{a.readPoint, a.readSuspects, a.readTotals, a.readAccounts, a.readPayments, a.readOrders} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	r := &a.report
	r.Payments[payment.StatusSucceeded] = payment.Total{Count: a.charged.Count - a.refunded.Count, Sum: a.charged.Sum - a.refunded.Sum}
	r.Payments[payment.StatusRefunded] = a.refunded
	r.Payments[payment.StatusFailed], r.Payments[payment.StatusVoided] = a.failed, a.voided
	if d := r.CheckTotal(); d != nil {
		a.differences = append(a.differences, *d)
	}
	if len(a.differences) > audit.MaxDifferences {
		a.truncated, a.differences = true, a.differences[:audit.MaxDifferences]
	}
	r.Differences = make([]audit.Difference, len(a.differences))
	for i, d := range a.differences {
		r.Differences[i] = d.Difference
	}
	return nil
}

// readPoint reads up to where the payments are verified.
func (a *auditing) readPoint(ctx context.Context) error {
	valid := false
	err := a.tx.QueryRow(ctx, `SELECT pg_current_snapshot()::text, now(), coalesce(version, 0),
			coalesce(pg_snapshot_xmax(snapshot) <= pg_snapshot_xmax(pg_current_snapshot()), false),
			coalesce(pg_snapshot_xmax(snapshot)::text::bigint, 0), ARRAY(SELECT x::text::bigint FROM pg_snapshot_xip(snapshot) AS x),
			coalesce(charged_count, 0), coalesce(charged_sum, 0), coalesce(failed_count, 0), coalesce(failed_sum, 0), coalesce(voided_count, 0), coalesce(voided_sum, 0)
		FROM (SELECT) AS one LEFT JOIN payments.audit ON true`).Scan(&a.snapshot, &a.report.CheckedAt, &a.version, &valid, &a.xmax, &a.open,
		&a.charged.Count, &a.charged.Sum, &a.failed.Count, &a.failed.Sum, &a.voided.Count, &a.voided.Sum)
	a.report.CheckedAt = a.report.CheckedAt.UTC()
	// The snapshot of another cluster, from which this database was restored, may be ahead.
	a.full = a.full || !valid
	if a.full {
		a.charged, a.failed, a.voided = payment.Total{}, payment.Total{}, payment.Total{}
	}
	return err
}

func (a *auditing) readSuspects(ctx context.Context) error {
	return a.tx.QueryRow(ctx, `SELECT coalesce(array_agg(DISTINCT user_id) FILTER (WHERE user_id IS NOT NULL), '{}'),
			coalesce(array_agg(DISTINCT order_id) FILTER (WHERE order_id IS NOT NULL), '{}') FROM payments.audit_differences`).
		Scan(&a.suspectUsers, &a.suspectOrders)
}

// readTotals sums up all balances and what is verified. [auditing.readAccounts] adds what is
// new.
func (a *auditing) readTotals(ctx context.Context) error {
	var verified int64
	r := &a.report
	err := a.tx.QueryRow(ctx, `SELECT (SELECT coalesce(sum(balance), 0)::bigint FROM payments.accounts),
			coalesce(sum(money_in), 0)::bigint, coalesce(sum(balance), 0)::bigint, coalesce(sum(refunds), 0)::bigint, coalesce(sum(refunded), 0)::bigint
		FROM payments.audit_accounts`).Scan(&r.Balances, &r.MoneyIn, &verified, &a.refunded.Count, &a.refunded.Sum)
	r.Shop = r.MoneyIn - money.Amount(verified)
	return err
}

// readAccounts compares each account with its verified state, and verifies the new entries of
// those that differ.
func (a *auditing) readAccounts(ctx context.Context) error {
	var (
		c                                    payment.AccountCheck
		from, topUps, net, refunds, refunded int64
		verified                             verifiedAccount
		whole                                bool
	)
	users := "unnest($2::bigint[])" // who may have entries, but neither an account nor a verified state
	if a.full {
		users = "(SELECT DISTINCT user_id FROM payments.entries)"
	}
	rows, _ := a.tx.Query(ctx, `
		WITH changed AS (
			SELECT coalesce(a.user_id, v.user_id) AS user_id, a.seq, a.balance,
				coalesce(v.seq, 0) AS verified_seq, coalesce(v.balance, 0) AS verified_balance,
				coalesce(v.money_in, 0) AS money_in, coalesce(v.refunds, 0) AS refunds, coalesce(v.refunded, 0) AS refunded,
				$1 OR v.user_id IS NULL OR v.user_id = ANY($2::bigint[]) AS whole
			FROM payments.accounts AS a FULL JOIN payments.audit_accounts AS v ON v.user_id = a.user_id
			WHERE a.seq IS DISTINCT FROM v.seq OR a.balance IS DISTINCT FROM v.balance OR $1 OR v.user_id = ANY($2::bigint[])
			UNION ALL SELECT u.user_id, NULL, NULL, 0, 0, 0, 0, 0, true FROM `+users+` AS u (user_id)
			WHERE NOT EXISTS (SELECT FROM payments.accounts WHERE user_id = u.user_id)
				AND NOT EXISTS (SELECT FROM payments.audit_accounts WHERE user_id = u.user_id)
				AND EXISTS (SELECT FROM payments.entries WHERE user_id = u.user_id)
		)
		SELECT c.user_id, c.seq IS NOT NULL, coalesce(c.seq, 0), coalesce(c.balance, 0),
			c.verified_seq, c.verified_balance, c.money_in, c.refunds, c.refunded, c.whole, n.*
		FROM (SELECT *, CASE WHEN whole THEN 0 ELSE verified_seq END AS from_seq, CASE WHEN whole THEN 0 ELSE verified_balance END AS from_balance FROM changed) AS c
		CROSS JOIN LATERAL (
			SELECT c.from_seq, coalesce(max(seq), c.from_seq), coalesce(max(balance_after) FILTER (WHERE newest), c.from_balance),
				coalesce(min(previous_seq + 1) FILTER (WHERE seq <> previous_seq + 1), 0), coalesce(min(seq) FILTER (WHERE balance_after <> previous + change), 0),
				coalesce(sum(amount) FILTER (WHERE kind = 'top_up'), 0)::bigint, coalesce(sum(change), 0)::bigint,
				count(*) FILTER (WHERE kind = 'refund'), coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0)::bigint
			FROM (
				SELECT seq, kind, amount, balance_after, CASE WHEN credit = 'user' THEN amount ELSE -amount END AS change,
					lag(seq, 1, c.from_seq) OVER chain AS previous_seq, lag(balance_after, 1, c.from_balance) OVER chain AS previous, lead(seq) OVER chain IS NULL AS newest
				FROM payments.entries WHERE user_id = c.user_id AND seq > c.from_seq WINDOW chain AS (ORDER BY seq)
			) AS e
		) AS n`, pgx.QueryExecModeCacheDescribe, a.full, a.suspectUsers)
	_, err := pgx.ForEachRow(rows, []any{
		&c.UserID, &c.Exists, &c.Seq, &c.Balance,
		&verified.seq, &verified.balance, &verified.moneyIn, &verified.refunds, &verified.refunded, &whole,
		&from, &c.LastSeq, &c.LastBalance, &c.Gap, &c.Wrong, &topUps, &net, &refunds, &refunded,
	}, func() error {
		start := verified
		if whole {
			start = verifiedAccount{}
		}
		now := verifiedAccount{c.UserID, c.LastSeq, start.balance + net, start.moneyIn + topUps, start.refunds + refunds, start.refunded + refunded}
		verified.user = c.UserID
		a.report.MoneyIn += money.Amount(now.moneyIn - verified.moneyIn)
		a.report.Shop += money.Amount(now.moneyIn - now.balance - (verified.moneyIn - verified.balance))
		a.refunded.Count += now.refunds - verified.refunds
		a.refunded.Sum += money.Amount(now.refunded - verified.refunded)
		if c.LastSeq > from {
			a.users, a.from = append(a.users, c.UserID), append(a.from, from)
		}
		if d := c.Check(); d != nil {
			a.differences = append(a.differences, *d)
		} else if now != verified || now.seq == 0 {
			a.verified = append(a.verified, now)
		}
		return nil
	})
	return err
}

// fresh is the condition for payments that the stored snapshot does not see. The upper bound
// excludes rows that were restored from another cluster.
const fresh = "(created_in >= $2 OR created_in = ANY($3::bigint[])) AND created_in < pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

// readPayments counts the new payments.
func (a *auditing) readPayments(ctx context.Context) error {
	if !a.full {
		// The few new rows are found by the index, whatever the statistics say.
		if _, err := a.tx.Exec(ctx, "SET LOCAL enable_seqscan = off"); err != nil {
			return err
		}
	}
	var status string
	var n payment.Total
	rows, _ := a.tx.Query(ctx, `SELECT CASE WHEN status IN ('failed', 'voided') THEN status ELSE '' END, count(*), sum(amount)::bigint
		FROM payments.payments WHERE $1 OR `+fresh+` GROUP BY 1`, pgx.QueryExecModeCacheDescribe, a.full, a.xmax, a.open)
	_, err := pgx.ForEachRow(rows, []any{&status, &n.Count, &n.Sum}, func() error {
		total := &a.charged
		switch payment.Status(status) {
		case payment.StatusFailed:
			total = &a.failed
		case payment.StatusVoided:
			total = &a.voided
		case payment.StatusSucceeded, payment.StatusRefunded:
		}
		total.Count += n.Count
		total.Sum += n.Sum
		return nil
	})
	return err
}

// readOrders compares payments with entries. It reads the new ones of both, and the payments
// of new entries.
func (a *auditing) readOrders(ctx context.Context) error {
	entries := `SELECT e.*, n.from_seq = 0 AS whole FROM unnest($5::bigint[], $6::bigint[]) AS n (user_id, from_seq)
		CROSS JOIN LATERAL (SELECT order_id, user_id, amount, kind, created_at FROM payments.entries
			WHERE user_id = n.user_id AND seq > n.from_seq AND order_id IS NOT NULL OFFSET 0) AS e`
	users, from := a.users, a.from
	if a.full {
		entries, users, from = `SELECT order_id, user_id, amount, kind, created_at, true AS whole FROM payments.entries
			WHERE order_id IS NOT NULL AND ($5::bigint[] IS NULL OR $6::bigint[] IS NULL)`, nil, nil
	}
	var c payment.OrderCheck
	rows, _ := a.tx.Query(ctx, `
		WITH moved AS (
			SELECT order_id, user_id, amount, count(*) FILTER (WHERE kind = 'charge') AS charges, count(*) FILTER (WHERE kind = 'refund') AS refunds,
				max(created_at) FILTER (WHERE kind = 'refund') AS refunded_at, bool_and(whole) AS whole
			FROM (`+entries+`) AS e GROUP BY order_id, user_id, amount
		), decided AS (
			SELECT order_id, user_id, amount, status FROM payments.payments WHERE $1 OR `+fresh+` OR order_id = ANY($4::uuid[])
		), both_sides AS (
			SELECT order_id, user_id, amount, coalesce(d.status, o.status) AS status, d.status IS NOT NULL OR m.whole AS whole,
				coalesce(m.charges, 0) AS charges, coalesce(m.refunds, 0) AS refunds, m.refunded_at, o.updated_at
			FROM decided AS d FULL JOIN moved AS m USING (order_id, user_id, amount)
			LEFT JOIN LATERAL (SELECT p.status, p.updated_at FROM payments.payments AS p
				WHERE d.status IS NULL AND p.order_id = m.order_id AND p.user_id = m.user_id AND p.amount = m.amount OFFSET 0) AS o ON true
		)
		SELECT order_id, user_id, amount, coalesce(status, ''), charges, refunds, NOT whole FROM both_sides
		WHERE (CASE WHEN whole THEN charges = (status IN ('succeeded', 'refunded'))::int AND refunds = (status = 'refunded')::int
			ELSE status = 'refunded' AND charges = 0 AND refunds = 1 AND refunded_at = updated_at END) IS NOT TRUE
		LIMIT $7`, pgx.QueryExecModeCacheDescribe, a.full, a.xmax, a.open, a.suspectOrders, users, from, audit.MaxDifferences+1)
	_, err := pgx.ForEachRow(rows, []any{&c.OrderID, &c.UserID, &c.Amount, &c.Status, &c.Charges, &c.Refunds, &c.Later}, func() error {
		a.differences = append(a.differences, c.Difference())
		return nil
	})
	return err
}
