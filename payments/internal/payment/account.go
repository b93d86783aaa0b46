package payment

import (
	"math"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/money"
)

// Kind is the kind of an entry.
type Kind string

// The kinds.
const (
	KindTopUp  Kind = "top_up"
	KindCharge Kind = "charge"
	KindRefund Kind = "refund"
)

// Ledger is one of the accounts of the double-entry ledger.
type Ledger string

// The ledger accounts. An entry moves money from the one it debits to the one it credits.
// LedgerUser is the account of the entry's user.
const (
	LedgerExternal Ledger = "external"
	LedgerUser     Ledger = "user"
	LedgerShop     Ledger = "shop"
)

// Account is a user's account.
type Account struct {
	UserID    int64
	Balance   money.Amount
	Seq       int64        // of the newest entry; 0 if there is none
	Deposited money.Amount // sum of the top-ups: the balance and what may still be refunded
	CreatedAt time.Time
}

// Entry is one movement of money, with both of its legs. The entries of an account are
// numbered from 1 without gaps.
type Entry struct {
	UserID        int64
	Seq           int64
	Kind          Kind
	Debit, Credit Ledger
	Amount        money.Amount // > 0
	BalanceAfter  money.Amount
	OrderID       *uuid.UUID // nil for a top-up
	CreatedAt     time.Time
}

// TopUp adds amount to the account, from outside the shop. The limit is for the sum of all
// top-ups, not for the balance: charges and refunds only move that sum between the balance and
// what may still be refunded, so no refund can raise the balance above it. The error is
// [ErrAmount] or [ErrDepositsTooLarge]; then the account is unchanged.
func (a *Account) TopUp(amount money.Amount, at time.Time) (Entry, error) {
	switch {
	case amount <= 0:
		return Entry{}, ErrAmount
	case amount > money.Max-a.Deposited:
		return Entry{}, ErrDepositsTooLarge
	}
	a.Deposited += amount
	return a.post(Entry{Kind: KindTopUp, Debit: LedgerExternal, Credit: LedgerUser, Amount: amount, CreatedAt: at}, amount), nil
}

// Charge takes amount from the account, for an order. The error is [ErrAmount] or
// [ErrInsufficientFunds]; then the account is unchanged.
func (a *Account) Charge(orderID uuid.UUID, amount money.Amount, at time.Time) (Entry, error) {
	switch {
	case amount <= 0:
		return Entry{}, ErrAmount
	case amount > a.Balance:
		return Entry{}, ErrInsufficientFunds
	}
	return a.post(Entry{
		Kind: KindCharge, Debit: LedgerUser, Credit: LedgerShop, Amount: amount, OrderID: &orderID, CreatedAt: at,
	}, -amount), nil
}

// Refund returns amount to the account, for an order. The limit of [Account.TopUp] leaves room
// for every refund. The error is [ErrAmount], or [ErrBalanceTooLarge] if more was deposited
// before that limit existed; then the account is unchanged.
func (a *Account) Refund(orderID uuid.UUID, amount money.Amount, at time.Time) (Entry, error) {
	switch {
	case amount <= 0:
		return Entry{}, ErrAmount
	case amount > math.MaxInt64-a.Balance:
		return Entry{}, ErrBalanceTooLarge
	}
	return a.post(Entry{
		Kind: KindRefund, Debit: LedgerShop, Credit: LedgerUser, Amount: amount, OrderID: &orderID, CreatedAt: at,
	}, amount), nil
}

func (a *Account) post(e Entry, change money.Amount) Entry {
	a.Balance += change
	a.Seq++
	e.UserID, e.Seq, e.BalanceAfter = a.UserID, a.Seq, a.Balance
	return e
}
