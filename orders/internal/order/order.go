// Package order is the domain of the orders service: what an order is, how it
// changes, and the use cases that place, settle and cancel orders. It knows neither
// HTTP, nor SQL, nor the broker.
//
//	      succeeded            cancel                voided, refunded
//	NEW ─────────────► PAID ─────────► CANCELLING ───────────────────► CANCELLED (cancelled_by_user)
//	 │ │                                  ▲
//	 │ └──────────────── cancel ──────────┘
//	 └── failed ─────────────────────────────────────────────────────► CANCELLED (insufficient_funds | account_not_found | …)
//
// Payments decides how a cancellation ends: it voids a payment that was not charged,
// and refunds one that was. While an order is CANCELLING, the result of the payment
// that the cancellation raced with only adds to its timeline. CANCELLED is final, and
// PAID is left only by a cancellation: whatever else comes later changes nothing.
package order

import (
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
	ErrNotFound       = RuleError("order not found")
	ErrNotCancellable = RuleError("order was cancelled for another reason")
	// ErrContradiction is about a payment result that cannot be true of its order.
	ErrContradiction = RuleError("the payment result contradicts the order")
)

// MaxItem is the length of an item's name, in characters.
const MaxItem = 200

// Status of an order.
type Status string

// The statuses.
const (
	StatusNew        Status = "NEW"
	StatusPaid       Status = "PAID"
	StatusCancelling Status = "CANCELLING"
	StatusCancelled  Status = "CANCELLED"
)

// CancelReason says why an order was cancelled: the reason of the failed payment, or
// ReasonCancelledByUser.
type CancelReason string

// ReasonCancelledByUser is the reason of an order that its user cancelled.
const ReasonCancelledByUser CancelReason = "cancelled_by_user"

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
	Saga         Saga
	ChangedIn    Watermark // at or above it lies the newest change, when it was read from the store
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

// CancelRequested is the event that asks for the end of the order's payment.
func (o Order) CancelRequested() events.OrderCancelRequested {
	return events.OrderCancelRequested{OrderID: o.ID.String(), UserID: o.UserID, Amount: int64(o.Price)}
}

// Cancel begins the cancellation of an order, and says whether that changed it: one
// that its user has cancelled before stays as it is. The error is ErrNotCancellable.
func (o *Order) Cancel(at time.Time) (changed bool, err error) {
	switch o.Status {
	case StatusNew, StatusPaid:
		o.Saga.CancelRequestedAt = at
		o.change(StatusCancelling, at)
		return true, nil
	case StatusCancelling:
		return false, nil
	case StatusCancelled:
	}
	if o.CancelReason != ReasonCancelledByUser {
		return false, ErrNotCancellable
	}
	return false, nil
}

func (o *Order) change(to Status, at time.Time) {
	o.Status, o.Version, o.UpdatedAt = to, o.Version+1, at
}
