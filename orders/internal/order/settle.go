package order

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/inbox"
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
	UserID  int64        // of the payment
	Amount  money.Amount // of the payment
	Status  PaymentStatus
	Reason  CancelReason // when failed
	Saga    Saga         // the times that the message contains
	At      time.Time    // when payments sent it; zero if unknown
}

// Effect is the effect of a payment decision on its order.
type Effect string

// The effects. Only EffectApplied and EffectNoted change the order.
const (
	EffectApplied       Effect = "applied"
	EffectNoted         Effect = "noted"         // the order is being cancelled, only its timeline changed
	EffectDuplicate     Effect = "duplicate"     // the message, or its content, was processed before
	EffectStale         Effect = "stale"         // sent before an interruption: payments is asked again
	EffectOrphaned      Effect = "orphaned"      // a charge without an order: its cancellation is requested
	EffectIgnored       Effect = "ignored"       // there is neither an order nor a charge
	EffectContradictory Effect = "contradictory" // impossible for the state of the order
)

// Settle applies a payment decision. Payments decides about cancellations, so a payment that
// was voided or refunded cancels its order even if the order does not know of the
// cancellation, because the database was restored to a time before it.
func (o *Order) Settle(d PaymentDecision, at time.Time) Effect {
	cancels := d.Status == PaymentVoided || d.Status == PaymentRefunded
	charged := d.Status == PaymentSucceeded || d.Status == PaymentRefunded
	switch o.Status {
	case StatusNew:
		o.merge(d.Saga)
		switch d.Status {
		case PaymentSucceeded:
			o.Saga.ConfirmedAt = at
			o.change(StatusPaid, at)
		case PaymentFailed:
			o.CancelReason = d.Reason
			o.change(StatusCancelled, at)
		case PaymentVoided, PaymentRefunded:
			o.CancelReason = ReasonCancelledByUser
			o.change(StatusCancelled, at)
		}
		return EffectApplied
	case StatusPaid:
		switch d.Status {
		case PaymentSucceeded:
			return EffectDuplicate
		case PaymentRefunded:
			o.merge(d.Saga)
			o.CancelReason = ReasonCancelledByUser
			o.change(StatusCancelled, at)
			return EffectApplied
		case PaymentFailed, PaymentVoided:
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

// settlement applies a set of payment decisions in order. Each sees the effects of those
// before it.
type settlement struct {
	orders  map[uuid.UUID]*Order
	trusted time.Time // see [Service.Trust]
	at      time.Time

	touched map[uuid.UUID]*Order
	emitted []events.Event
}

// run applies the fresh ones of decisions and returns the effects of all.
func (s *settlement) run(decisions []inbox.Event[PaymentDecision], fresh []bool) ([]Settled, error) {
	settled := make([]Settled, len(decisions))
	for i, e := range decisions {
		if !fresh[i] {
			settled[i].Effect = EffectDuplicate
			continue
		}
		var err error
		if o, known := s.orders[e.Data.OrderID]; known {
			settled[i].Effect, err = s.settle(o, e.Data)
			settled[i].Order = *o
		} else {
			settled[i].Effect, err = s.undo(e.Data)
		}
		if err != nil {
			return nil, err
		}
	}
	return settled, nil
}

// settle applies a decision to its order. A decision that was sent before an interruption is
// not applied if it would change the order: the database may have been restored since, to a
// time before the decision. The reply to the repeated command is the decision that counts.
//
// The user and the price of an order never change, so a decision with others is not about
// this order.
func (s *settlement) settle(o *Order, d PaymentDecision) (Effect, error) {
	if d.UserID != o.UserID || d.Amount != o.Price {
		return "", fmt.Errorf("%w: %s is of user %d for %s, its payment %s of user %d for %s", ErrContradiction, o.ID, o.UserID, o.Price, d.Status, d.UserID, d.Amount)
	}
	settled := *o
	effect := settled.Settle(d, s.at)
	stale := !d.At.IsZero() && d.At.Before(s.trusted) && o.Status != StatusCancelled
	switch {
	case effect == EffectDuplicate:
	case stale:
		s.emitted = append(s.emitted, o.command())
		return EffectStale, nil
	case effect == EffectContradictory:
		return "", fmt.Errorf("%w: %s is %s, its payment %s", ErrContradiction, o.ID, o.Status, d.Status)
	default:
		*o = settled
		s.touched[o.ID] = o
	}
	return effect, nil
}

// undo handles the decision about an order that does not exist, because the database was
// restored to a time before the order. A charge is undone by requesting its cancellation.
// Nothing is emitted for the reply, so this ends.
func (s *settlement) undo(d PaymentDecision) (Effect, error) {
	if d.Status != PaymentSucceeded {
		return EffectIgnored, nil
	}
	if d.UserID < 1 || d.Amount < 1 { // payments would reject the request
		return "", fmt.Errorf("%w: payment of %s %s, of user %d and amount %s", ErrNotFound, d.OrderID, d.Status, d.UserID, d.Amount)
	}
	s.emitted = append(s.emitted, Order{ID: d.OrderID, UserID: d.UserID, Price: d.Amount}.CancelRequested())
	return EffectOrphaned, nil
}

func (s *settlement) changed() []Order {
	var changed []Order
	for _, o := range s.touched {
		changed = append(changed, *o)
	}
	return changed
}
