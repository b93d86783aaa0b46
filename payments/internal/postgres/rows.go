package postgres

import (
	"time"

	"github.com/google/uuid"

	"gozon/payments/internal/payment"
	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/database"
)

// accountRow is a row of accounts. It is the only list of the table's columns.
type accountRow struct {
	UserID    int64 `gorm:"primaryKey"`
	Balance   int64
	Seq       int64
	Deposited int64
	CreatedAt time.Time `gorm:"<-:create"`
}

// TableName implements gorm's Tabler.
func (accountRow) TableName() string { return Schema + ".accounts" }

func newAccountRow(a payment.Account) accountRow {
	return accountRow{UserID: a.UserID, Balance: int64(a.Balance), Seq: a.Seq, Deposited: int64(a.Deposited), CreatedAt: a.CreatedAt}
}

func (r accountRow) account() payment.Account {
	return payment.Account{UserID: r.UserID, Balance: money.Amount(r.Balance), Seq: r.Seq, Deposited: money.Amount(r.Deposited), CreatedAt: r.CreatedAt.UTC()}
}

// paymentRow is a row of payments. It is the only list of the table's columns.
type paymentRow struct {
	OrderID     uuid.UUID `gorm:"primaryKey"`
	UserID      int64     `gorm:"<-:create"`
	Amount      int64     `gorm:"<-:create"`
	Status      string
	Reason      *string    `gorm:"<-:create"`
	PublishedAt *time.Time `gorm:"<-:create"`
	CreatedAt   time.Time  `gorm:"<-:create"`
	UpdatedAt   time.Time
}

// TableName implements gorm's Tabler.
func (paymentRow) TableName() string { return Schema + ".payments" }

func newPaymentRow(p payment.Payment) paymentRow {
	return paymentRow{
		OrderID: p.OrderID, UserID: p.UserID, Amount: int64(p.Amount), Status: string(p.Status), Reason: database.Nullable(string(p.Reason)),
		PublishedAt: database.Nullable(p.PublishedAt), CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	}
}

func (r paymentRow) payment() payment.Payment {
	return payment.Payment{
		OrderID: r.OrderID, UserID: r.UserID, Amount: money.Amount(r.Amount), Status: payment.Status(r.Status),
		Reason: events.FailureReason(database.Value(r.Reason)), PublishedAt: database.Value(r.PublishedAt).UTC(),
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}

// entryRow is a row of entries, which is append-only. It is the only list of the table's
// columns.
type entryRow struct {
	UserID       int64      `gorm:"primaryKey"`
	Seq          int64      `gorm:"primaryKey"`
	Kind         string     `gorm:"<-:create"`
	Debit        string     `gorm:"<-:create"`
	Credit       string     `gorm:"<-:create"`
	Amount       int64      `gorm:"<-:create"`
	BalanceAfter int64      `gorm:"<-:create"`
	OrderID      *uuid.UUID `gorm:"<-:create"`
	CreatedAt    time.Time  `gorm:"<-:create"`
}

// TableName implements gorm's Tabler.
func (entryRow) TableName() string { return Schema + ".entries" }

func newEntryRow(e payment.Entry) entryRow {
	return entryRow{
		UserID: e.UserID, Seq: e.Seq, Kind: string(e.Kind), Debit: string(e.Debit), Credit: string(e.Credit),
		Amount: int64(e.Amount), BalanceAfter: int64(e.BalanceAfter), OrderID: e.OrderID, CreatedAt: e.CreatedAt,
	}
}

func (r entryRow) entry() payment.Entry {
	return payment.Entry{
		UserID: r.UserID, Seq: r.Seq, Kind: payment.Kind(r.Kind), Debit: payment.Ledger(r.Debit), Credit: payment.Ledger(r.Credit),
		Amount: money.Amount(r.Amount), BalanceAfter: money.Amount(r.BalanceAfter), OrderID: r.OrderID, CreatedAt: r.CreatedAt.UTC(),
	}
}
