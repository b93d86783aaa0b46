// Package payment is the domain of the payments service: accounts, their entries,
// and the decision about each order. It knows neither HTTP, nor SQL, nor the
// broker.
//
// A payment is that decision, kept for ever:
//
//	order ──► balance ≥ amount ──► succeeded: the account is charged ──── cancellation ──► refunded: it is given back
//	      ├─► balance < amount ──► failed (insufficient_funds): nothing moves
//	      └─► no account ────────► failed (account_not_found): nothing moves
//	cancellation without an order ─► voided: nothing moves, the order is not charged when it comes
//
// The payment is the arbiter between an order and its cancellation: whichever comes
// first, and however often, both are answered by what is there. A failed payment stays
// failed: the answer to its cancellation is that nothing was charged and nothing will be.
package payment

import (
	"errors"
	"math"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
)

// RuleError is an error of the domain's rules: another attempt fails the same way. The
// edges tell it by its type, so no list of errors has to be kept.
type RuleError string

// Error implements error.
func (e RuleError) Error() string { return string(e) }

// Errors of the domain.
var (
	ErrAccountNotFound   = RuleError("account not found")
	ErrInsufficientFunds = RuleError("insufficient funds")
	ErrBalanceTooLarge   = RuleError("the balance would exceed " + money.Max.String())
	ErrAmount            = RuleError("amount must be positive")
	ErrContradiction     = RuleError("the message contradicts the order's payment")
)

// Kind of an entry.
type Kind string

// The kinds.
const (
	KindTopUp  Kind = "top_up"
	KindCharge Kind = "charge"
	KindRefund Kind = "refund"
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

// Refund gives amount back to the account, for an order. What was taken is always given
// back: the ceiling of top-ups does not count here, only what a balance can hold at all,
// thousands of times as much.
func (a *Account) Refund(orderID uuid.UUID, amount money.Amount, at time.Time) (Entry, error) {
	switch {
	case amount <= 0:
		return Entry{}, ErrAmount
	case amount > math.MaxInt64-a.Balance:
		return Entry{}, ErrBalanceTooLarge
	}
	return a.post(Entry{
		Kind: KindRefund, Debit: LedgerShop, Credit: LedgerUser, Amount: amount,
		OrderID: uuid.NullUUID{UUID: orderID, Valid: true}, CreatedAt: at,
	}, amount), nil
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
	StatusVoided    Status = "voided"
	StatusRefunded  Status = "refunded"
)

// Payment is the decision about one order.
type Payment struct {
	OrderID     uuid.UUID
	UserID      int64
	Amount      money.Amount
	Status      Status
	Reason      events.FailureReason // when failed
	PublishedAt time.Time            // of the order's event; zero when that never came
	CreatedAt   time.Time            // when it was charged, refused or voided
	UpdatedAt   time.Time            // when it was refunded
}

// Event is what the other services are told of the decision.
func (p Payment) Event() events.Event {
	id, user, amount := p.OrderID.String(), p.UserID, int64(p.Amount)
	switch p.Status {
	case StatusSucceeded:
		return events.PaymentSucceeded{OrderID: id, UserID: user, Amount: amount, PublishedAt: p.PublishedAt, ChargedAt: p.CreatedAt}
	case StatusRefunded:
		return events.PaymentRefunded{OrderID: id, UserID: user, Amount: amount, PublishedAt: p.PublishedAt, ChargedAt: p.CreatedAt, RefundedAt: p.UpdatedAt}
	case StatusVoided:
		return events.PaymentVoided{OrderID: id, UserID: user, Amount: amount, PublishedAt: p.PublishedAt, VoidedAt: p.CreatedAt}
	case StatusFailed:
	}
	return events.PaymentFailed{OrderID: id, UserID: user, Amount: amount, Reason: p.Reason, PublishedAt: p.PublishedAt, RefusedAt: p.CreatedAt}
}

// Cancelled is what the other services are told when the order is cancelled: the
// decision, unless that was to refuse it. Then there is nothing to give back.
func (p Payment) Cancelled() events.Event {
	if p.Status != StatusFailed {
		return p.Event()
	}
	return events.PaymentVoided{
		OrderID: p.OrderID.String(), UserID: p.UserID, Amount: int64(p.Amount),
		PublishedAt: p.PublishedAt, RefusedAt: p.CreatedAt, VoidedAt: p.UpdatedAt,
	}
}

// Order is an order to be paid, or no longer to be paid, as a message brought it.
type Order struct {
	MessageID   uuid.UUID
	OrderID     uuid.UUID
	UserID      int64
	Amount      money.Amount
	Cancelled   bool
	PublishedAt time.Time // of the message; zero when it does not tell
}

// Decide charges the account of an order, nil when there is none, and says how
// that ended. The entry is nil when no money moved.
func Decide(o Order, account *Account, at time.Time) (Payment, *Entry, error) {
	p := Payment{OrderID: o.OrderID, UserID: o.UserID, Amount: o.Amount, Status: StatusFailed, PublishedAt: o.PublishedAt, CreatedAt: at, UpdatedAt: at}
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

// Void is the payment of an order whose cancellation came first.
func Void(o Order, at time.Time) Payment {
	return Payment{OrderID: o.OrderID, UserID: o.UserID, Amount: o.Amount, Status: StatusVoided, CreatedAt: at, UpdatedAt: at}
}

// Cancel gives back to the account what was charged, if anything was and is not back
// yet, and says whether that changed the payment: the entry is nil when it did not.
func (p *Payment) Cancel(account *Account, at time.Time) (*Entry, error) {
	if p.Status != StatusSucceeded {
		return nil, nil //nolint:nilnil // as documented
	}
	entry, err := account.Refund(p.OrderID, p.Amount, at)
	if err != nil {
		return nil, err
	}
	p.Status, p.UpdatedAt = StatusRefunded, at
	return &entry, nil
}
