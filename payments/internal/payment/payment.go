// Package payment is the domain of the payments service: accounts, their entries, and the
// payments of orders. It does not depend on HTTP, SQL or the broker.
//
// A payment is the decision about one order. It is kept forever:
//
//	charge, balance ≥ amount ──► succeeded: the account is charged ─── cancel ──► refunded: the charge is returned
//	charge, balance < amount ──► failed (insufficient_funds): no money moves
//	charge, no account ────────► failed (account_not_found): no money moves
//	cancel before the charge ──► voided: no money moves, a later charge is not made
//
// Payments decides the race between an order and its cancellation: the first command
// creates the payment. The reply to every command, including a repeated one, is the state of
// the payment. A failed payment stays failed. The reply to its cancellation is that nothing
// was charged and nothing will be.
package payment

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
)

// RuleError is a violation of the domain's rules. A retry fails the same way.
type RuleError string

// Error implements error.
func (e RuleError) Error() string { return string(e) }

// Permanent returns true, so that a consumer dead-letters the message instead of retrying it.
func (RuleError) Permanent() bool { return true }

// Errors of the domain.
var (
	ErrAccountNotFound   = RuleError("account not found")
	ErrInsufficientFunds = RuleError("insufficient funds")
	ErrDepositsTooLarge  = RuleError("all deposits to the account together would exceed " + money.Max.String())
	ErrBalanceTooLarge   = RuleError("the balance would be out of range")
	ErrAmount            = RuleError("amount must be positive")
	// ErrContradiction is a command with another user or amount than the order's payment.
	ErrContradiction = RuleError("the message contradicts the order's payment")
)

// Status is the status of a payment.
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
	PublishedAt time.Time            // of the order's event; zero if unknown or the order was cancelled first
	CreatedAt   time.Time            // when it was charged, refused or voided
	UpdatedAt   time.Time            // when it was refunded, otherwise CreatedAt
}

// Command is an event's request to charge for an order, or to cancel its payment.
type Command struct {
	OrderID     uuid.UUID
	UserID      int64
	Amount      money.Amount
	Cancel      bool
	PublishedAt time.Time // of the event; zero if unknown
}

// Charge charges account for an order and returns the payment. account is nil if the user
// has none. The entry is nil if the payment failed.
func (c Command) Charge(account *Account, at time.Time) (Payment, *Entry, error) {
	p := c.payment(StatusFailed, at)
	p.PublishedAt = c.PublishedAt
	if account == nil {
		p.Reason = events.ReasonAccountNotFound
		return p, nil, nil
	}
	entry, err := account.Charge(c.OrderID, c.Amount, at)
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

// Void returns the payment of an order that is cancelled before it was charged.
func (c Command) Void(at time.Time) Payment { return c.payment(StatusVoided, at) }

func (c Command) payment(s Status, at time.Time) Payment {
	return Payment{OrderID: c.OrderID, UserID: c.UserID, Amount: c.Amount, Status: s, CreatedAt: at, UpdatedAt: at}
}

// Cancel refunds the charge of a succeeded payment to account. The entry is nil if there
// is nothing to refund; then the payment is unchanged.
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

// ChargeReply returns the reply to a command to charge.
func (p Payment) ChargeReply() events.Event {
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

// CancelReply returns the reply to a command to cancel. It is that of [Payment.ChargeReply],
// except that a failed payment is reported as voided.
func (p Payment) CancelReply() events.Event {
	if p.Status != StatusFailed {
		return p.ChargeReply()
	}
	return events.PaymentVoided{
		OrderID: p.OrderID.String(), UserID: p.UserID, Amount: int64(p.Amount),
		PublishedAt: p.PublishedAt, RefusedAt: p.CreatedAt, VoidedAt: p.UpdatedAt,
	}
}
