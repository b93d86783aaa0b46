// Package payment is the domain of the payments service: accounts, their entries,
// and the decision about each order. It knows neither HTTP, nor SQL, nor the
// broker.
//
// A payment is that decision, made once and kept for ever:
//
//	order ──► balance ≥ amount ──► succeeded: the account is charged
//	      ├─► balance < amount ──► failed (insufficient_funds): nothing moves
//	      └─► no account ────────► failed (account_not_found): nothing moves
//
// An order that comes again is answered with the payment that is there.
package payment

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"gozon/shared/events"
	"gozon/shared/money"
)

// Errors of the domain.
var (
	ErrAccountNotFound   = errors.New("account not found")
	ErrInsufficientFunds = errors.New("insufficient funds")
	ErrBalanceTooLarge   = errors.New("the balance would exceed " + money.Max.String())
	ErrAmount            = errors.New("amount must be positive")
)

// Kind of an entry.
type Kind string

// The kinds.
const (
	KindTopUp  Kind = "top_up"
	KindCharge Kind = "charge"
)

// Ledger is one of the accounts of the double-entry ledger.
type Ledger string

// The ledger accounts. An entry takes from the one it debits and gives to the one
// it credits; User is the account of the entry's user.
const (
	LedgerExternal Ledger = "external"
	LedgerUser     Ledger = "user"
	LedgerShop     Ledger = "shop"
)

// Account is a user's money.
type Account struct {
	UserID    int64
	Balance   money.Amount
	Seq       int64 // of its newest entry; 0 when there is none
	CreatedAt time.Time
}

// Entry is one movement of money, with both of its legs. The entries of an account
// are numbered without a gap, and each tells the balance after it.
type Entry struct {
	UserID        int64
	Seq           int64
	Kind          Kind
	Debit, Credit Ledger
	Amount        money.Amount // > 0
	BalanceAfter  money.Amount
	OrderID       uuid.NullUUID
	CreatedAt     time.Time
}

// TopUp adds amount to the account, from outside. On an error nothing has changed.
func (a *Account) TopUp(amount money.Amount, at time.Time) (Entry, error) {
	switch {
	case amount <= 0:
		return Entry{}, ErrAmount
	case amount > money.Max-a.Balance:
		return Entry{}, ErrBalanceTooLarge
	}
	return a.post(Entry{Kind: KindTopUp, Debit: LedgerExternal, Credit: LedgerUser, Amount: amount, CreatedAt: at}, amount), nil
}

// Charge takes amount from the account, for an order. On an error nothing has changed.
func (a *Account) Charge(orderID uuid.UUID, amount money.Amount, at time.Time) (Entry, error) {
	switch {
	case amount <= 0:
		return Entry{}, ErrAmount
	case amount > a.Balance:
		return Entry{}, ErrInsufficientFunds
	}
	return a.post(Entry{
		Kind: KindCharge, Debit: LedgerUser, Credit: LedgerShop, Amount: amount,
		OrderID: uuid.NullUUID{UUID: orderID, Valid: true}, CreatedAt: at,
	}, -amount), nil
}

func (a *Account) post(e Entry, change money.Amount) Entry {
	a.Balance += change
	a.Seq++
	e.UserID, e.Seq, e.BalanceAfter = a.UserID, a.Seq, a.Balance
	return e
}

// Status of a payment.
type Status string

// The statuses.
const (
	StatusSucceeded Status = "succeeded"
	StatusFailed    Status = "failed"
)

// Payment is the decision about one order.
type Payment struct {
	OrderID   uuid.UUID
	UserID    int64
	Amount    money.Amount
	Status    Status
	Reason    events.FailureReason // when failed
	CreatedAt time.Time
}

// Event is what the other services are told of the decision.
func (p Payment) Event() events.Event {
	if p.Status == StatusSucceeded {
		return events.PaymentSucceeded{OrderID: p.OrderID.String(), UserID: p.UserID, Amount: int64(p.Amount)}
	}
	return events.PaymentFailed{OrderID: p.OrderID.String(), UserID: p.UserID, Amount: int64(p.Amount), Reason: p.Reason}
}

// Order is an order to be paid, as a message brought it.
type Order struct {
	MessageID uuid.UUID
	OrderID   uuid.UUID
	UserID    int64
	Amount    money.Amount
}

// Decide charges the account of an order, nil when there is none, and says how
// that ended. The entry is nil when no money moved.
func Decide(o Order, account *Account, at time.Time) (Payment, *Entry, error) {
	p := Payment{OrderID: o.OrderID, UserID: o.UserID, Amount: o.Amount, Status: StatusFailed, CreatedAt: at}
	if account == nil {
		p.Reason = events.ReasonAccountNotFound
		return p, nil, nil
	}
	entry, err := account.Charge(o.OrderID, o.Amount, at)
	switch {
	case errors.Is(err, ErrInsufficientFunds):
		p.Reason = events.ReasonInsufficientFunds
		return p, nil, nil
	case err != nil:
		return Payment{}, nil, err
	}
	p.Status = StatusSucceeded
	return p, &entry, nil
}
