package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"gozon/payments/internal/payment"
	"gozon/shared/delivery"
	"gozon/shared/delivery/database"
)

// tx implements payment.Tx.
type tx struct {
	*delivery.Tx
	store *Store
}

// sorted returns users in ascending order, each once. Every transaction locks accounts in
// this order.
func sorted(users []int64) []int64 {
	users = slices.Clone(users)
	slices.Sort(users)
	return slices.Compact(users)
}

func (t *tx) OpenForUpdate(ctx context.Context, at time.Time, users ...int64) (opened map[int64]bool, accounts map[int64]*payment.Account, err error) {
	opened = map[int64]bool{}
	users = sorted(users)
	accounts, lock := t.lock(users)
	if len(users) == 0 {
		return opened, accounts, nil
	}
	rows := make([]accountRow, len(users))
	for i, u := range users {
		rows[i] = accountRow{UserID: u, CreatedAt: at}
	}
	var user int64
	open := database.Select("open accounts", []any{&user}, func() { opened[user] = true }, t.store.openAccounts.SQL, t.store.openAccounts.Args(rows)...)
	return opened, accounts, t.Read(ctx, open, lock)
}

func (t *tx) ClaimForUpdate(ctx context.Context, claims []uuid.UUID, users []int64, orders []uuid.UUID) (
	fresh map[uuid.UUID]bool, accounts map[int64]*payment.Account, payments map[uuid.UUID]payment.Payment, err error,
) {
	fresh, claim := t.Claim(claims...)
	accounts, lock := t.lock(sorted(users))
	payments = make(map[uuid.UUID]payment.Payment, len(orders))
	read := t.store.payments.Select("read payments", func(r paymentRow) { payments[r.OrderID] = r.payment() },
		"WHERE order_id = ANY($1::uuid[])", orders)
	return fresh, accounts, payments, t.Read(ctx, claim, lock, read)
}

// lock returns the query that locks the accounts of users, which are sorted, and the map that
// it fills.
func (t *tx) lock(users []int64) (map[int64]*payment.Account, database.Selection) {
	locked := make(map[int64]*payment.Account, len(users))
	return locked, t.store.accounts.Select("lock accounts", func(r accountRow) {
		a := r.account()
		locked[a.UserID] = &a
	}, "WHERE user_id = ANY($1::bigint[]) ORDER BY user_id FOR UPDATE", users)
}

func (t *tx) Save(_ context.Context, c payment.Changes) error {
	s := t.store
	database.Write(t.Tx.Tx, "update accounts", s.updateAccounts, newAccountRow, c.Accounts)
	database.Write(t.Tx.Tx, "insert payments", s.insertPayments, newPaymentRow, c.Payments)
	database.Write(t.Tx.Tx, "update payments", s.updatePayments, newPaymentRow, c.Refunded)
	database.Write(t.Tx.Tx, "insert entries", s.insertEntries, newEntryRow, c.Entries)
	return nil
}
