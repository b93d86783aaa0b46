package order

import (
	"slices"
	"time"
)

// Saga has the times of an order's way through the services, zero where it did not
// come past, or where that is not known. They travel in the events that are sent
// anyway: the order is written no more often for them.
type Saga struct {
	PublishedAt       time.Time // its event was handed to the broker
	ChargedAt         time.Time
	RefusedAt         time.Time
	ConfirmedAt       time.Time // it became PAID
	CancelRequestedAt time.Time
	RefundedAt        time.Time
}

// Step is one step of an order's timeline.
type Step struct {
	Name string
	At   time.Time
}

// Timeline tells the order's course so far. Times come from the clocks of several
// machines, so what follows from what is told by the order of the steps; only where a
// cancellation was requested among the steps of the payment is told by the times.
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

// learn takes over the times that s knows and o does not, and says whether there were any.
func (o *Order) learn(s Saga) (learned bool) {
	for _, t := range []struct {
		known *time.Time
		told  time.Time
	}{
		{&o.Saga.PublishedAt, s.PublishedAt}, {&o.Saga.ChargedAt, s.ChargedAt}, {&o.Saga.RefusedAt, s.RefusedAt}, {&o.Saga.RefundedAt, s.RefundedAt},
	} {
		if t.known.IsZero() && !t.told.IsZero() {
			*t.known, learned = t.told, true
		}
	}
	return learned
}
