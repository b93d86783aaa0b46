// Package order is the domain of the orders service: what an order is, how it
// changes, and the use cases that place and settle orders. It knows neither HTTP,
// nor SQL, nor the broker.
//
//	            payment succeeded
//	     ┌────────────────────────► PAID
//	NEW ─┤
//	     └────────────────────────► CANCELLED (insufficient_funds | account_not_found | …)
//	            payment failed
//
// PAID and CANCELLED are final: whatever result comes later changes nothing.
package order

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"gozon/shared/events"
	"gozon/shared/money"
)

// ErrNotFound says that there is no such order.
var ErrNotFound = errors.New("order not found")

// MaxItem is the length of an item's name, in characters.
const MaxItem = 200

// Status of an order.
type Status string

// The statuses.
const (
	StatusNew       Status = "NEW"
	StatusPaid      Status = "PAID"
	StatusCancelled Status = "CANCELLED"
)

// CancelReason says why an order was cancelled: the reason of the failed payment.
type CancelReason string

// Draft is what a client asks for.
type Draft struct {
	UserID int64
	Item   string
	Price  money.Amount
}

// Order is one order.
type Order struct {
	ID           uuid.UUID // UUIDv7: sorts by the time of placing
	UserID       int64
	Item         string
	Price        money.Amount
	Status       Status
	CancelReason CancelReason // set when cancelled
	Version      int64        // 1, and one more with each change
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Place makes the order that a draft asks for.
func (d Draft) Place(id uuid.UUID, at time.Time) Order {
	return Order{
		ID: id, UserID: d.UserID, Item: d.Item, Price: d.Price,
		Status: StatusNew, Version: 1, CreatedAt: at, UpdatedAt: at,
	}
}

// Created is the event that asks for the order's payment.
func (o Order) Created() events.OrderCreated {
	return events.OrderCreated{OrderID: o.ID.String(), UserID: o.UserID, Amount: int64(o.Price)}
}

// PaymentResult is what the payments service decided about an order.
type PaymentResult struct {
	MessageID uuid.UUID
	OrderID   uuid.UUID
	Paid      bool
	Reason    CancelReason // when not paid
}

// Outcome is what a payment result did.
type Outcome string

// The outcomes. Only OutcomeApplied changed anything.
const (
	OutcomeApplied       Outcome = "applied"
	OutcomeDuplicate     Outcome = "duplicate"     // this message, or the same result, was here before
	OutcomeContradictory Outcome = "contradictory" // the order was settled the other way
	OutcomeUnknownOrder  Outcome = "unknown_order"
)

// Settle applies a payment result. A settled order stays as it is, whatever comes.
func (o *Order) Settle(r PaymentResult, at time.Time) Outcome {
	status, reason := StatusPaid, CancelReason("")
	if !r.Paid {
		status, reason = StatusCancelled, r.Reason
	}
	switch {
	case o.Status == StatusNew:
		o.Status, o.CancelReason, o.Version, o.UpdatedAt = status, reason, o.Version+1, at
		return OutcomeApplied
	case o.Status == status && o.CancelReason == reason:
		return OutcomeDuplicate
	default:
		return OutcomeContradictory
	}
}
