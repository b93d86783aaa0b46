// Package postgres keeps accounts, payments and entries in PostgreSQL, in the
// schema payments.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"gozon/payments/internal/payment"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/database"
	"gozon/shared/inbox"
	"gozon/shared/keystore"
	"gozon/shared/outbox"
)

// Schema that the service's tables live in.
const Schema = "payments"

// Inbox, Outbox and Keys of the service.
var (
	Inbox  = inbox.New(Schema)
	Outbox = outbox.New(Schema, "gozon/payments")
	Keys   = keystore.New(Schema)
)

// Store implements payment.Store. It is safe for concurrent use.
type Store struct {
	db      *gorm.DB
	emitted func()
}

// NewStore works on db; emitted is called after each commit that wrote events.
func NewStore(db *gorm.DB, emitted func()) *Store { return &Store{db, emitted} }

type accountRow struct {
	UserID    int64
	Balance   int64
	Seq       int64
	CreatedAt time.Time
}

// TableName implements gorm's Tabler.
func (accountRow) TableName() string { return Schema + ".accounts" }

func (r accountRow) toAccount() payment.Account {
	return payment.Account{UserID: r.UserID, Balance: money.Amount(r.Balance), Seq: r.Seq, CreatedAt: r.CreatedAt.UTC()}
}

type entryRow struct {
	UserID       int64
	Seq          int64
	Kind         string
	Debit        string
	Credit       string
	Amount       int64
	BalanceAfter int64
	OrderID      uuid.NullUUID
	CreatedAt    time.Time
}

// TableName implements gorm's Tabler.
func (entryRow) TableName() string { return Schema + ".entries" }

func (r entryRow) toEntry() payment.Entry {
	return payment.Entry{
		UserID: r.UserID, Seq: r.Seq, Kind: payment.Kind(r.Kind), Debit: payment.Ledger(r.Debit), Credit: payment.Ledger(r.Credit),
		Amount: money.Amount(r.Amount), BalanceAfter: money.Amount(r.BalanceAfter), OrderID: r.OrderID, CreatedAt: r.CreatedAt.UTC(),
	}
}

// Account implements payment.Store.
func (s *Store) Account(ctx context.Context, user int64) (payment.Account, error) {
	var row accountRow
	err := s.db.WithContext(ctx).Where("user_id = ?", user).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return payment.Account{}, payment.ErrAccountNotFound
	}
	if err != nil {
		return payment.Account{}, fmt.Errorf("read account: %w", err)
	}
	return row.toAccount(), nil
}

// EntriesOf implements payment.Store.
func (s *Store) EntriesOf(ctx context.Context, user, before int64, limit int) ([]payment.Entry, error) {
	var rows []entryRow
	err := s.db.WithContext(ctx).Where("user_id = ? AND seq < ?", user, before).Order("seq DESC").Limit(limit).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	entries := make([]payment.Entry, len(rows))
	for i, r := range rows {
		entries[i] = r.toEntry()
	}
	return entries, nil
}

// InTx implements payment.Store.
func (s *Store) InTx(ctx context.Context, fn func(payment.Tx) error) error {
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
