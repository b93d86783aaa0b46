package broker

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/batch"
	"gozon/shared/delivery/inbox"
)

// Errors that a [Handler] wraps to decide how the [Consumer] treats an event. An event with
// any other error is retried with backoff, and dead-lettered once it has failed for
// Config.DeadLetterAfter. So an unexpected error delays no other event.
var (
	// ErrPoison marks an event that can never be handled. It is dead-lettered at once.
	ErrPoison = errors.New("poison message")
	// ErrBusy marks an event that needs a lock held by another transaction. It is retried
	// for as long as that takes, while other events are handled.
	ErrBusy = errors.New("waiting for a lock")
	// ErrUnavailable marks an event that cannot be handled now, for a reason that affects
	// every event. No new event is handled until the handler is available again.
	ErrUnavailable = errors.New("temporarily unavailable")
)

// Received is an event that is to be handled.
type Received struct {
	Body []byte
	// Message is the id of its message if all events of that message are in the same call of
	// the [Handler], in a row. Otherwise it is zero.
	Message uuid.UUID
}

// Handler handles a batch of events. It returns one error for each, in order; nil means
// that it was handled. An event may be delivered more than once.
type Handler func(ctx context.Context, received []Received) []error

// Decoded returns a [Handler] that decodes events and passes them to do, which handles a
// set in one transaction. done is called with the result of each handled event.
//
// The events of a message are handled in one transaction, which claims the id of the
// message. If that fails because of one of them, they are handled in several, and the one
// fails alone.
//
// An event is poison if decode fails, if decode, do or done panics on it, or if its error is
// permanent. An error is permanent if faults.Permanent reports so, or if it wraps an error
// with a method Permanent() bool that returns true.
func Decoded[T, O any](
	decode func(events.Envelope) (T, error),
	do batch.Func[inbox.Event[T], O],
	faults batch.Faults,
	done func(context.Context, inbox.Event[T], O),
) Handler {
	return func(ctx context.Context, received []Received) []error {
		errs := make([]error, len(received))
		units := make([]unit[T], 0, len(received))
		for i, r := range received {
			e, err := parse(r.Body, decode)
			if err != nil {
				errs[i] = fmt.Errorf("%w: %w", ErrPoison, err)
				continue
			}
			if r.Message != uuid.Nil {
				e.Claim = r.Message
			}
			if n := len(units); n > 0 && units[n-1][0].event.Claim == e.Claim {
				units[n-1] = append(units[n-1], indexed[T]{e, i})
			} else {
				units = append(units, unit[T]{{e, i}})
			}
		}
		if len(units) == 0 {
			return errs
		}
		for j, r := range isolate(ctx, units, do, faults.Whole) {
			i, e, err := j.index, j.event, r.Err
			switch {
			case err == nil:
				if err := batch.Guard(func() error { done(ctx, e, r.Value); return nil }); err != nil {
					errs[i] = fmt.Errorf("%w: %w", ErrPoison, err)
				}
			case faults.Whole(err):
				errs[i] = fmt.Errorf("%w: %w", ErrUnavailable, err)
			case faults.Busy(err):
				errs[i] = fmt.Errorf("%w: %w", ErrBusy, err)
			case isPermanent(err), faults.Permanent(err), errors.Is(err, batch.ErrPanic):
				errs[i] = fmt.Errorf("%w: %w", ErrPoison, err)
			default:
				errs[i] = err
			}
		}
		return errs
	}
}

// unit is a set of events that succeed or fail together, because they claim the same id: all
// events of a message, or one event that claims its own id.
type unit[T any] []indexed[T]

// indexed is an event and its index in the batch.
type indexed[T any] struct {
	event inbox.Event[T]
	index int
}

// split returns a unit for each event. It claims its own id: if the id of the message was
// claimed for one of them, the others would count as duplicates.
func (u unit[T]) split() []unit[T] {
	units := make([]unit[T], len(u))
	for i, e := range u {
		e.event.Claim = e.event.ID
		units[i] = unit[T]{e}
	}
	return units
}

// isolate processes all units with one call of do. See [batch.Isolate]. A unit that fails
// alone is split.
func isolate[T, O any](ctx context.Context, units []unit[T], do batch.Func[inbox.Event[T], O], whole func(error) bool) iter.Seq2[indexed[T], batch.Result[O]] {
	flat := func(ctx context.Context, units []unit[T]) ([][]O, error) {
		var set []inbox.Event[T]
		for _, u := range units {
			for _, e := range u {
				set = append(set, e.event)
			}
		}
		values, err := do(ctx, set)
		if err == nil && len(values) != len(set) {
			err = fmt.Errorf("%d results for %d events", len(values), len(set))
		}
		if err != nil {
			return nil, err
		}
		results := make([][]O, len(units))
		for i, u := range units {
			results[i], values = values[:len(u)], values[len(u):]
		}
		return results, nil
	}
	return func(yield func(indexed[T], batch.Result[O]) bool) {
		for i, r := range batch.Isolate(ctx, units, flat, whole) {
			u := units[i]
			if r.Err != nil && len(u) > 1 && !whole(r.Err) {
				for e, r := range isolate(batch.WithoutWaiting(ctx), u.split(), do, whole) {
					if !yield(e, r) {
						return
					}
				}
				continue
			}
			for j, e := range u {
				result := batch.Result[O]{Err: r.Err}
				if r.Err == nil {
					result.Value = r.Value[j]
				}
				if !yield(e, result) {
					return
				}
			}
		}
	}
}

// isPermanent reports whether err wraps an error that describes itself as permanent.
func isPermanent(err error) bool {
	p, ok := errors.AsType[interface {
		error
		Permanent() bool
	}](err)
	return ok && p.Permanent()
}

// Validate reports why a [Handler] with the same decode function cannot decode an event.
func Validate[T any](body []byte, decode func(events.Envelope) (T, error)) error {
	_, err := parse(body, decode)
	return err
}

// parse decodes an event, which claims its own id.
func parse[T any](body []byte, decode func(events.Envelope) (T, error)) (e inbox.Event[T], err error) {
	err = batch.Guard(func() error {
		envelope, err := events.Parse(body)
		if err != nil {
			return err
		}
		if e.ID, err = uuid.Parse(envelope.ID); err != nil {
			return fmt.Errorf("%w: id: %w", events.ErrMalformed, err)
		}
		e.Claim = e.ID
		e.Data, err = decode(envelope)
		return err
	})
	return e, err
}
