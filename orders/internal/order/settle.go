package order

import (
	"time"

	"github.com/google/uuid"
)

// Result is what payments says about an order's payment.
type Result string

// The results.
const (
	ResultSucceeded Result = "succeeded" // charged
	ResultFailed    Result = "failed"    // refused: nothing moved
	ResultVoided    Result = "voided"    // cancelled before it was charged: nothing moved
	ResultRefunded  Result = "refunded"  // cancelled after it was charged: the money is back
)

// PaymentResult is a message of the payments service about an order.
type PaymentResult struct {
	MessageID uuid.UUID
	OrderID   uuid.UUID
	Result    Result
	Reason    CancelReason // when failed
	Saga      Saga         // the times that the message tells
}

// Outcome is what a payment result did.
type Outcome string

// The outcomes. Only OutcomeApplied and OutcomeNoted changed anything.
const (
	OutcomeApplied       Outcome = "applied"
	OutcomeNoted         Outcome = "noted"         // the order is being cancelled: only its timeline grew
	OutcomeDuplicate     Outcome = "duplicate"     // this message, or what it tells, was here before
	OutcomeContradictory Outcome = "contradictory" // it cannot be true of the order as it is
)

// Settle applies a payment result.
func (o *Order) Settle(r PaymentResult, at time.Time) Outcome {
	cancels := r.Result == ResultVoided || r.Result == ResultRefunded
	charged := r.Result == ResultSucceeded || r.Result == ResultRefunded
	switch o.Status {
	case StatusNew:
		if cancels { // nobody asked for it
			return OutcomeContradictory
		}
		o.learn(r.Saga)
		if charged {
			o.Saga.ConfirmedAt = at
			o.change(StatusPaid, at)
		} else {
			o.CancelReason = r.Reason
			o.change(StatusCancelled, at)
		}
		return OutcomeApplied
	case StatusPaid:
		if r.Result == ResultSucceeded {
			return OutcomeDuplicate
		}
		return OutcomeContradictory
	case StatusCancelling:
		// The money that was taken must have come back, and only that.
		if o.wasCharged() && !charged || o.wasRefused() && charged {
			return OutcomeContradictory
		}
		learned := o.learn(r.Saga)
		switch {
		case cancels:
			o.CancelReason = ReasonCancelledByUser
			o.change(StatusCancelled, at)
			return OutcomeApplied
		case learned:
			o.change(StatusCancelling, at)
			return OutcomeNoted
		default:
			return OutcomeDuplicate
		}
	case StatusCancelled:
	}
	if o.CancelReason == ReasonCancelledByUser {
		// What the cancellation raced with comes late: its end has told all of it.
		if charged == !o.Saga.RefundedAt.IsZero() {
			return OutcomeDuplicate
		}
		return OutcomeContradictory
	}
	if r.Result == ResultFailed && r.Reason == o.CancelReason {
		return OutcomeDuplicate
	}
	return OutcomeContradictory
}

func (o *Order) wasCharged() bool { return !o.Saga.ChargedAt.IsZero() || !o.Saga.ConfirmedAt.IsZero() }

func (o *Order) wasRefused() bool { return !o.Saga.RefusedAt.IsZero() }
