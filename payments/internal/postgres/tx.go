package postgres

import (
	"context"
	"fmt"
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

func (t *tx) OpenAccounts(ctx context.Context, at time.Time, users ...int64) (map[int64]bool, error) {
	opened := map[int64]bool{}
	if len(users) == 0 {
		return opened, nil
	}
	var accounts []accountRow
	for _, u := range sorted(users) {
		accounts = append(accounts, accountRow{UserID: u, CreatedAt: at})
	}
	open := t.store.openAccounts
	for user, err := range database.Query(ctx, t, database.Column[int64], open.SQL, open.Args(accounts)...) {
		if err != nil {
			return nil, fmt.Errorf("open accounts: %w", err)
		}
		opened[user] = true
	}
	return opened, nil
}

func (t *tx) AccountsForUpdate(ctx context.Context, users ...int64) (map[int64]*payment.Account, error) {
	locked := make(map[int64]*payment.Account, len(users))
	if len(users) == 0 {
		return locked, nil
	}
	for r, err := range t.store.accounts.Query(ctx, t, "WHERE user_id = ANY($1::bigint[]) ORDER BY user_id FOR UPDATE", sorted(users)) {
		if err != nil {
			return nil, fmt.Errorf("lock accounts: %w", err)
		}
		a := r.account()
		locked[a.UserID] = &a
	}
	return locked, nil
}

func (t *tx) Payments(ctx context.Context, orderIDs ...uuid.UUID) (map[uuid.UUID]payment.Payment, error) {
	found := make(map[uuid.UUID]payment.Payment, len(orderIDs))
	if len(orderIDs) == 0 {
		return found, nil
	}
	for r, err := range t.store.payments.Query(ctx, t, "WHERE order_id = ANY($1::uuid[])", orderIDs) {
		if err != nil {
			return nil, fmt.Errorf("read payments: %w", err)
		}
		found[r.OrderID] = r.payment()
	}
	return found, nil
}

func (t *tx) Save(ctx context.Context, c payment.Changes) error {
	s := t.store
	if err := database.Write(ctx, t, s.updateAccounts, newAccountRow, c.Accounts); err != nil {
		return fmt.Errorf("update accounts: %w", err)
	}
	if err := database.Write(ctx, t, s.insertPayments, newPaymentRow, c.Payments); err != nil {
		return fmt.Errorf("insert payments: %w", err)
	}
	if err := database.Write(ctx, t, s.updatePayments, newPaymentRow, c.Refunded); err != nil {
		return fmt.Errorf("update payments: %w", err)
	}
	if err := database.Write(ctx, t, s.insertEntries, newEntryRow, c.Entries); err != nil {
		return fmt.Errorf("insert entries: %w", err)
	}
	return nil
}
