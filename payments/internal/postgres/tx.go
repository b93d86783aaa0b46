package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"gozon/payments/internal/payment"
	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/idempotency"
)

// tx implements payment.Tx. Sets travel as arrays: one statement, one text and so
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

// sorted returns users once each, in ascending order: the order in which every
// transaction takes its locks.
func sorted(users []int64) []int64 {
	users = slices.Clone(users)
	slices.Sort(users)
	return slices.Compact(users)
}

func (t *tx) OpenAccounts(ctx context.Context, at time.Time, users ...int64) (map[int64]bool, error) {
	rows, err := t.conn.QueryContext(ctx, `
		INSERT INTO payments.accounts (user_id, balance, seq, created_at)
		SELECT unnest($1::bigint[]), 0, 0, $2::timestamptz ON CONFLICT DO NOTHING RETURNING user_id`, sorted(users), at)
	if err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	defer rows.Close()
	opened := map[int64]bool{}
	for rows.Next() {
		var user int64
		if err := rows.Scan(&user); err != nil {
			return nil, fmt.Errorf("open accounts: %w", err)
		}
		opened[user] = true
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	return opened, nil
}

func (t *tx) AccountsForUpdate(ctx context.Context, users ...int64) (map[int64]*payment.Account, error) {
	rows, err := t.conn.QueryContext(ctx, `
		SELECT user_id, balance, seq, created_at FROM payments.accounts
		WHERE user_id = ANY($1::bigint[]) ORDER BY user_id FOR UPDATE`, sorted(users))
	if err != nil {
		return nil, fmt.Errorf("lock accounts: %w", err)
	}
	defer rows.Close()
	locked := make(map[int64]*payment.Account, len(users))
	for rows.Next() {
		var r accountRow
		if err := rows.Scan(&r.UserID, &r.Balance, &r.Seq, &r.CreatedAt); err != nil {
			return nil, fmt.Errorf("lock accounts: %w", err)
		}
		a := r.toAccount()
		locked[a.UserID] = &a
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("lock accounts: %w", err)
	}
	return locked, nil
}

func (t *tx) Payments(ctx context.Context, orderIDs ...uuid.UUID) (map[uuid.UUID]payment.Payment, error) {
	rows, err := t.conn.QueryContext(ctx, `
		SELECT order_id, user_id, amount, status, coalesce(reason, ''), published_at, created_at, updated_at FROM payments.payments
		WHERE order_id = ANY($1::uuid[])`, orderIDs)
	if err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
	}
	defer rows.Close()
	found := map[uuid.UUID]payment.Payment{}
	for rows.Next() {
		var p payment.Payment
		var amount int64
		var published *time.Time
		if err := rows.Scan(&p.OrderID, &p.UserID, &amount, &p.Status, &p.Reason, &published, &p.CreatedAt, &p.UpdatedAt); err != nil {
			return nil, fmt.Errorf("read payments: %w", err)
		}
		p.Amount, p.CreatedAt, p.UpdatedAt = money.Amount(amount), p.CreatedAt.UTC(), p.UpdatedAt.UTC()
		if published != nil {
			p.PublishedAt = published.UTC()
		}
		found[p.OrderID] = p
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
	}
	return found, nil
}

func (t *tx) Save(ctx context.Context, c payment.Changes) error {
	if err := t.saveAccounts(ctx, c.Accounts); err != nil {
		return err
	}
	if err := t.insertPayments(ctx, c.Payments); err != nil {
		return err
	}
	if err := t.updatePayments(ctx, c.Refunded); err != nil {
		return err
	}
	return t.insertEntries(ctx, c.Entries)
}

func (t *tx) saveAccounts(ctx context.Context, accounts []payment.Account) error {
	n := len(accounts)
	if n == 0 {
		return nil
	}
	users, balances, seqs := make([]int64, n), make([]int64, n), make([]int64, n)
	for i, a := range accounts {
		users[i], balances[i], seqs[i] = a.UserID, int64(a.Balance), a.Seq
	}
	_, err := t.conn.ExecContext(ctx, `
		UPDATE payments.accounts AS a SET balance = n.balance, seq = n.seq
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS n (user_id, balance, seq)
		WHERE a.user_id = n.user_id`, users, balances, seqs)
	if err != nil {
		return fmt.Errorf("save accounts: %w", err)
	}
	return nil
}

func (t *tx) insertPayments(ctx context.Context, payments []payment.Payment) error {
	n := len(payments)
	if n == 0 {
		return nil
	}
	orders, users, amounts := make([]uuid.UUID, n), make([]int64, n), make([]int64, n)
	statuses, reasons, published := make([]string, n), make([]string, n), make([]*time.Time, n)
	created, updated := make([]time.Time, n), make([]time.Time, n)
	for i, p := range payments {
		orders[i], users[i], amounts[i] = p.OrderID, p.UserID, int64(p.Amount)
		statuses[i], reasons[i], created[i], updated[i] = string(p.Status), string(p.Reason), p.CreatedAt, p.UpdatedAt
		if !p.PublishedAt.IsZero() {
			published[i] = &p.PublishedAt
		}
	}
	_, err := t.conn.ExecContext(ctx, `
		INSERT INTO payments.payments (order_id, user_id, amount, status, reason, published_at, created_at, updated_at)
		SELECT order_id, user_id, amount, status, nullif(reason, ''), published_at, created_at, updated_at
		FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[])
			AS p (order_id, user_id, amount, status, reason, published_at, created_at, updated_at)`,
		orders, users, amounts, statuses, reasons, published, created, updated)
	if err != nil {
		return fmt.Errorf("insert payments: %w", err)
	}
	return nil
}

func (t *tx) updatePayments(ctx context.Context, payments []payment.Payment) error {
	n := len(payments)
	if n == 0 {
		return nil
	}
	orders, statuses, times := make([]uuid.UUID, n), make([]string, n), make([]time.Time, n)
	for i, p := range payments {
		orders[i], statuses[i], times[i] = p.OrderID, string(p.Status), p.UpdatedAt
	}
	_, err := t.conn.ExecContext(ctx, `
		UPDATE payments.payments AS p SET status = n.status, updated_at = n.at
		FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS n (order_id, status, at)
		WHERE p.order_id = n.order_id`, orders, statuses, times)
	if err != nil {
		return fmt.Errorf("update payments: %w", err)
	}
	return nil
}

func (t *tx) insertEntries(ctx context.Context, entries []payment.Entry) error {
	n := len(entries)
	if n == 0 {
		return nil
	}
	users, seqs, kinds := make([]int64, n), make([]int64, n), make([]string, n)
	debits, credits, amounts := make([]string, n), make([]string, n), make([]int64, n)
	balances, orders, times := make([]int64, n), make([]*uuid.UUID, n), make([]time.Time, n)
	for i, e := range entries {
		users[i], seqs[i], kinds[i] = e.UserID, e.Seq, string(e.Kind)
		debits[i], credits[i], amounts[i] = string(e.Debit), string(e.Credit), int64(e.Amount)
		balances[i], times[i] = int64(e.BalanceAfter), e.CreatedAt
		if e.OrderID.Valid {
			orders[i] = &e.OrderID.UUID
		}
	}
	_, err := t.conn.ExecContext(ctx, `
		INSERT INTO payments.entries (user_id, seq, kind, debit, credit, amount, balance_after, order_id, created_at)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::uuid[], $9::timestamptz[])`,
		users, seqs, kinds, debits, credits, amounts, balances, orders, times)
	if err != nil {
		return fmt.Errorf("insert entries: %w", err)
	}
	return nil
}
