// Package postgres stores accounts, payments and entries in PostgreSQL, in the schema
// payments.
package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"gozon/payments/internal/payment"
	"gozon/shared/delivery"
	"gozon/shared/delivery/database"
)

// Schema is the schema of the service's tables.
const Schema = "payments"

// Store implements payment.Store. It is safe for concurrent use.
type Store struct {
	*delivery.Store
	accounts *database.Table[accountRow]
	payments *database.Table[paymentRow]

	openAccounts, updateAccounts   database.Statement[accountRow]
	insertPayments, updatePayments database.Statement[paymentRow]
	insertEntries                  database.Statement[entryRow]
}

// NewStore returns a store whose transactions are those of s.
func NewStore(s *delivery.Store) *Store {
	accounts, payments, entries := database.NewTable[accountRow](), database.NewTable[paymentRow](), database.NewTable[entryRow]()
	open := accounts.Insert()
	open.SQL += " ON CONFLICT DO NOTHING RETURNING user_id"
	return &Store{
		Store: s, accounts: accounts, payments: payments,
		openAccounts: open, updateAccounts: accounts.Update(),
		insertPayments: payments.Insert(), updatePayments: payments.Update(), insertEntries: entries.Insert(),
	}
}

// Account implements payment.Store.
func (s *Store) Account(ctx context.Context, user int64) (payment.Account, error) {
	var row accountRow
	err := s.DB.Gorm.WithContext(ctx).Where("user_id = ?", user).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return payment.Account{}, payment.ErrAccountNotFound
	}
	if err != nil {
		return payment.Account{}, fmt.Errorf("read account: %w", err)
	}
	return row.account(), nil
}

// EntriesOf implements payment.Store.
func (s *Store) EntriesOf(ctx context.Context, user, before int64, limit int) ([]payment.Entry, error) {
	var rows []entryRow
	err := s.DB.Gorm.WithContext(ctx).Where("user_id = ? AND seq < ?", user, before).Order("seq DESC").Limit(limit).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	entries := make([]payment.Entry, len(rows))
	for i, r := range rows {
		entries[i] = r.entry()
	}
	return entries, nil
}

// PaymentsIn implements payment.Store.
func (s *Store) PaymentsIn(ctx context.Context, after, to uuid.UUID, limit int) ([]payment.Payment, error) {
	return s.paymentsWhere(ctx, "WHERE order_id > $1 AND order_id <= $2 ORDER BY order_id LIMIT $3", after, to, limit)
}

// PaymentsOf implements payment.Store.
func (s *Store) PaymentsOf(ctx context.Context, orders []uuid.UUID) ([]payment.Payment, error) {
	return s.paymentsWhere(ctx, "WHERE order_id = ANY($1::uuid[]) ORDER BY order_id", orders)
}

func (s *Store) paymentsWhere(ctx context.Context, where string, args ...any) ([]payment.Payment, error) {
	var payments []payment.Payment
	for r, err := range s.payments.Query(ctx, s.DB, where, args...) {
		if err != nil {
			return nil, fmt.Errorf("read payments: %w", err)
		}
		payments = append(payments, r.payment())
	}
	return payments, nil
}

// InTx implements payment.Store.
func (s *Store) InTx(ctx context.Context, fn func(payment.Tx) error) error {
	return s.Store.InTx(ctx, func(t *delivery.Tx) error { return fn(&tx{t, s}) })
}
