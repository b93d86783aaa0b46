// Package order is the domain of the orders service: orders, their life cycle, and the
// use cases that place, settle and cancel them. It does not depend on HTTP, SQL or the
// broker.
//
//	      succeeded            cancel                voided, refunded
//	NEW ─────────────► PAID ─────────► CANCELLING ───────────────────► CANCELLED (cancelled_by_user)
//	 │ │                                  ▲
//	 │ └──────────────── cancel ──────────┘
//	 └── failed ─────────────────────────────────────────────────────► CANCELLED (insufficient_funds | account_not_found | …)
//
// Payments decides how a cancellation ends: it voids a payment that was not charged and
// refunds one that was. While an order is CANCELLING, the decision about the payment that
// raced with the cancellation only adds to the timeline. CANCELLED is final, and only a
// cancellation leaves PAID: any other message changes nothing.
//
// NEW and CANCELLING end with the decision of payments. If the request for it or the reply
// was lost, the order is overdue and its request is repeated (see [Watched]).
package order

import (
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
	ErrNotFound       = RuleError("order not found")
	ErrNotCancellable = RuleError("the shop has already cancelled the order")
	// ErrContradiction is a payment decision that is impossible for the state of its order.
	ErrContradiction = RuleError("the payment decision contradicts the order")
)

// MaxItem is the maximum length of an item's name, in characters.
const MaxItem = 200

// Status is the status of an order.
type Status string

// The statuses.
const (
	StatusNew        Status = "NEW"
	StatusPaid       Status = "PAID"
	StatusCancelling Status = "CANCELLING"
	StatusCancelled  Status = "CANCELLED"
)

// CancelReason is why an order was cancelled: the reason of the failed payment, or
// [ReasonCancelledByUser].
type CancelReason string

// ReasonCancelledByUser is the reason of an order that its user cancelled.
const ReasonCancelledByUser CancelReason = "cancelled_by_user"

// Draft is an order as a client requests it.
type Draft struct {
	UserID int64
	Item   string
	Price  money.Amount
}

// Order is one order.
type Order struct {
	ID           uuid.UUID // a UUIDv7, so ids sort by the time when orders were placed
	UserID       int64
	Item         string
	Price        money.Amount
	Status       Status
	CancelReason CancelReason // set when cancelled
	Version      int64        // starts at 1 and increases by 1 with each change
	CreatedAt    time.Time
	UpdatedAt    time.Time
	Saga         Saga
}

// Place returns the new order that a draft requests.
func (d Draft) Place(id uuid.UUID, at time.Time) Order {
	return Order{
		ID: id, UserID: d.UserID, Item: d.Item, Price: d.Price,
		Status: StatusNew, Version: 1, CreatedAt: at, UpdatedAt: at,
	}
}

// Created returns the event that requests the order's payment.
func (o Order) Created() events.OrderCreated {
	return events.OrderCreated{OrderID: o.ID.String(), UserID: o.UserID, Amount: int64(o.Price)}
}

// CancelRequested returns the event that requests the cancellation of the order's payment.
func (o Order) CancelRequested() events.OrderCancelRequested {
	return events.OrderCancelRequested{OrderID: o.ID.String(), UserID: o.UserID, Amount: int64(o.Price)}
}

// command returns the event that requests what the order is waiting for, or was waiting for
// last.
func (o Order) command() events.Event {
	if o.Status == StatusCancelling {
		return o.CancelRequested()
	}
	return o.Created()
}

// pendingSince returns the time since when the order is waiting for payments. It is zero for
// an order that is not waiting.
func (o Order) pendingSince() time.Time {
	switch o.Status {
	case StatusNew:
		return o.CreatedAt
	case StatusCancelling:
		return o.Saga.CancelRequestedAt
	case StatusPaid, StatusCancelled:
	}
	return time.Time{}
}

// Cancel starts the cancellation of an order and reports whether that changed it: an
// order that its user has already cancelled stays unchanged. The error is
// [ErrNotCancellable].
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
