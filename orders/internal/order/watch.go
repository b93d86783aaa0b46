package order

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
)

// Watched is an order that waits for payments, or did so when it was inspected last. It is
// overdue once it has waited for a limit. Then its request is repeated, because the message
// or the reply may be lost: payments replies to a repeated request with the decision that it
// has made. A request that is not lost but late costs no more than that.
//
// Orders that have waited for the limit are added by the store, which finds them by their
// ids, so placing an order costs nothing more. A cancellation may be requested long after
// that, so it adds its order itself.
type Watched struct {
	OrderID  uuid.UUID
	Since    time.Time // when the order began to wait
	NextAt   time.Time // of the next inspection
	Repeats  int64     // since it began to wait
	RepeatAt time.Time // of the next repetition at the earliest; zero until the order was found overdue
}

// maxBackoff bounds the time between two repetitions, as a multiple of the limit.
const maxBackoff = 20

// watch returns orders as watched ones, which are inspected as soon as possible.
func watch(orders []Order) []Watched {
	watched := make([]Watched, len(orders))
	for i, o := range orders {
		watched[i] = Watched{OrderID: o.ID, Since: o.pendingSince(), NextAt: o.pendingSince()}
	}
	return watched
}

// Inspection is the result of inspecting a watched order.
type Inspection struct {
	OrderID  uuid.UUID
	Ended    bool // it no longer waits, and is no longer watched
	Noticed  bool // it was found overdue for the first time since it began to wait
	Repeated bool // its request was repeated
}

// Policy decides which watched orders are repeated.
type Policy struct {
	Limit time.Duration // an order that has waited for so long is overdue
	Hold  bool          // repeat nothing
}

// inspect inspects a watched order, which is nil if there is no such order.
func (w *Watched) inspect(o *Order, p Policy, at time.Time) Inspection {
	found := Inspection{OrderID: w.OrderID}
	if o == nil || o.pendingSince().IsZero() {
		found.Ended = true
		return found
	}
	if since := o.pendingSince(); !since.Equal(w.Since) { // the status changed since the last inspection
		*w = Watched{OrderID: w.OrderID, Since: since}
	}
	if overdue := w.Since.Add(p.Limit); at.Before(overdue) {
		w.NextAt = overdue
		return found
	}
	if w.RepeatAt.IsZero() {
		found.Noticed, w.RepeatAt = true, at
	}
	if !p.Hold && !at.Before(w.RepeatAt) {
		found.Repeated = true
		w.RepeatAt = at.Add(backoff(w.Repeats, p.Limit))
		w.Repeats++
	}
	// Inspections do not back off: an order that was settled should soon not count as overdue.
	w.NextAt = at.Add(p.Limit)
	return found
}

// backoff returns the time from a repetition to the next one. repeats is the number of
// repetitions before it.
func backoff(repeats int64, limit time.Duration) time.Duration {
	delay := limit
	for range min(repeats, maxBackoff) { // more would overflow
		if delay *= 2; delay >= maxBackoff*limit {
			return maxBackoff * limit
		}
	}
	return delay
}

// Inspect inspects those of a set of watched orders whose inspection is due and that no other
// replica is inspecting. It repeats the requests of those that are overdue, and removes those
// that no longer wait. It returns one result per order; that of an order that was not
// inspected is zero except for the id.
func (s *Service) Inspect(ctx context.Context, ids []uuid.UUID, p Policy) (results []Inspection, err error) {
	err = s.store.InTx(ctx, func(tx Tx) error {
		at := now()
		watched, orders, err := tx.WatchedForUpdate(ctx, at, ids...)
		if err != nil {
			return err
		}
		found := map[uuid.UUID]Inspection{}
		var kept []Watched
		var ended []uuid.UUID
		var repeated []events.Event
		for _, w := range watched {
			var o *Order
			if known, ok := orders[w.OrderID]; ok {
				o = &known
			}
			i := w.inspect(o, p, at)
			found[w.OrderID] = i
			if i.Ended {
				ended = append(ended, w.OrderID)
				continue
			}
			kept = append(kept, w)
			if i.Repeated {
				repeated = append(repeated, o.command())
			}
		}
		results = make([]Inspection, len(ids))
		for i, id := range ids {
			results[i] = found[id]
			results[i].OrderID = id
		}
		if err := tx.Unwatch(ctx, ended...); err != nil {
			return err
		}
		if err := tx.Watch(ctx, kept...); err != nil {
			return err
		}
		return tx.Emit(ctx, repeated...)
	})
	if err != nil {
		return nil, fmt.Errorf("inspect %d orders: %w", len(ids), err)
	}
	return results, nil
}
