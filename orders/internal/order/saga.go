package order

import (
	"slices"
	"time"
)

// Saga contains the times at which an order passed the steps of its saga. A time is zero if
// the step was not taken or its time is unknown. The times arrive with the events that
// change the status of the order, so they cost no extra writes. The exception is a decision
// with the effect [EffectNoted].
type Saga struct {
	PublishedAt       time.Time // the relay handed the order's event to the broker
	ChargedAt         time.Time
	RefusedAt         time.Time
	ConfirmedAt       time.Time // the order became PAID
	CancelRequestedAt time.Time
	RefundedAt        time.Time
}

// Step is one step of an order's timeline.
type Step struct {
	Name string
	At   time.Time
}

// Timeline returns the steps of the order so far. The times come from the clocks of
// several machines, so the steps are in causal order, not sorted by time. The exception is
// a requested cancellation, which is placed among the payment's steps by its time.
func (o Order) Timeline() []Step {
	steps := []Step{{"placed", o.CreatedAt}}
	add := func(name string, at time.Time) {
		if !at.IsZero() {
			steps = append(steps, Step{name, at})
		}
	}
	add("published", o.Saga.PublishedAt)
	add("charged", o.Saga.ChargedAt)
	add("refused", o.Saga.RefusedAt)
	add("confirmed", o.Saga.ConfirmedAt)
	if requested := o.Saga.CancelRequestedAt; !requested.IsZero() {
		i := 1
		for confirmed := !o.Saga.ConfirmedAt.IsZero(); i < len(steps) && (confirmed || !steps[i].At.After(requested)); {
			i++
		}
		steps = slices.Insert(steps, i, Step{"cancel_requested", requested})
	}
	add("refunded", o.Saga.RefundedAt)
	if o.Status == StatusCancelled {
		add("cancelled", o.UpdatedAt)
	}
	return steps
}

// merge copies the times of s that the order does not have yet. It reports whether there
// were any.
func (o *Order) merge(s Saga) (changed bool) {
	for _, t := range []struct {
		known *time.Time
		new   time.Time
	}{
		{&o.Saga.PublishedAt, s.PublishedAt}, {&o.Saga.ChargedAt, s.ChargedAt}, {&o.Saga.RefusedAt, s.RefusedAt}, {&o.Saga.RefundedAt, s.RefundedAt},
	} {
		if t.known.IsZero() && !t.new.IsZero() {
			*t.known, changed = t.new, true
		}
	}
	return changed
}
