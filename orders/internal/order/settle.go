package order

import (
	"time"

	"github.com/google/uuid"
)

// PaymentStatus is the decision of the payments service about an order's payment.
type PaymentStatus string

// The payment statuses.
const (
	PaymentSucceeded PaymentStatus = "succeeded" // charged
	PaymentFailed    PaymentStatus = "failed"    // refused, nothing was charged
	PaymentVoided    PaymentStatus = "voided"    // cancelled before it was charged
	PaymentRefunded  PaymentStatus = "refunded"  // cancelled after it was charged, the charge was refunded
)

// PaymentDecision is a message from the payments service about an order.
type PaymentDecision struct {
	OrderID uuid.UUID
	Status  PaymentStatus
	Reason  CancelReason // when failed
	Saga    Saga         // the times that the message contains
}

// Effect is the effect of a payment decision on its order.
type Effect string

// The effects. Only EffectApplied and EffectNoted change the order.
const (
	EffectApplied       Effect = "applied"
	EffectNoted         Effect = "noted"         // the order is being cancelled, only its timeline changed
	EffectDuplicate     Effect = "duplicate"     // the message, or its content, was processed before
	EffectContradictory Effect = "contradictory" // impossible for the state of the order
)

// Settle applies a payment decision.
func (o *Order) Settle(d PaymentDecision, at time.Time) Effect {
	cancels := d.Status == PaymentVoided || d.Status == PaymentRefunded
	charged := d.Status == PaymentSucceeded || d.Status == PaymentRefunded
	switch o.Status {
	case StatusNew:
		if cancels { // no cancellation was requested
			return EffectContradictory
		}
		o.merge(d.Saga)
		if charged {
			o.Saga.ConfirmedAt = at
			o.change(StatusPaid, at)
		} else {
			o.CancelReason = d.Reason
			o.change(StatusCancelled, at)
		}
		return EffectApplied
	case StatusPaid:
		if d.Status == PaymentSucceeded {
			return EffectDuplicate
		}
		return EffectContradictory
	case StatusCancelling:
		// A charge must have been refunded, and only a charge can be refunded.
		if o.wasCharged() && !charged || o.wasRefused() && charged {
			return EffectContradictory
		}
		changed := o.merge(d.Saga)
		switch {
		case cancels:
			o.CancelReason = ReasonCancelledByUser
			o.change(StatusCancelled, at)
			return EffectApplied
		case changed:
			o.change(StatusCancelling, at)
			return EffectNoted
		default:
			return EffectDuplicate
		}
	case StatusCancelled:
	}
	if o.CancelReason == ReasonCancelledByUser {
		// The final decision repeated, or a decision that raced with the cancellation and
		// arrived late. The final decision already includes its effect.
		if charged == !o.Saga.RefundedAt.IsZero() {
			return EffectDuplicate
		}
		return EffectContradictory
	}
	if d.Status == PaymentFailed && d.Reason == o.CancelReason {
		return EffectDuplicate
	}
	return EffectContradictory
}

func (o *Order) wasCharged() bool { return !o.Saga.ChargedAt.IsZero() || !o.Saga.ConfirmedAt.IsZero() }

func (o *Order) wasRefused() bool { return !o.Saga.RefusedAt.IsZero() }
