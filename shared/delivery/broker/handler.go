package broker

import (
	"context"
	"errors"
	"fmt"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/batch"
)

// What the error of a message means to a [Consumer]; wrap one of them. A message with any
// other error is retried with backoff and dead-lettered when that does not help for
// Config.DeadLetterAfter, so an error that nobody thought of holds up nothing but its message.
var (
	// ErrPoison marks a message that can never be handled: it is dead-lettered at once.
	ErrPoison = errors.New("poison message")
	// ErrBusy marks a message that somebody else's lock holds up. It is retried for as long
	// as that takes, and others are handled meanwhile.
	ErrBusy = errors.New("held up by a lock")
	// ErrUnavailable marks a message that cannot be handled now, and neither can any other.
	// Nothing is consumed until it was handled.
	ErrUnavailable = errors.New("cannot work now")
)

// Handler handles the bodies of a batch of messages and returns one error for
// each, in order; nil means done. The same message may come many times.
type Handler func(ctx context.Context, bodies [][]byte) []error

// Decoded makes a [Handler] of a use case that works on sets. decode reads one event;
// what it cannot read is poison. do handles a set, in one transaction; faults tells
// what its errors mean, and permanent which of those that concern one message cannot
// change by another attempt. Those and panics are poison. done sees what became of each
// message that was handled.
func Decoded[T, O any](
	decode func(events.Envelope) (T, error),
	do batch.Func[T, O],
	faults batch.Faults,
	permanent func(error) bool,
	done func(context.Context, T, O),
) Handler {
	return func(ctx context.Context, bodies [][]byte) []error {
		errs := make([]error, len(bodies))
		items, at := make([]T, 0, len(bodies)), make([]int, 0, len(bodies))
		for i, body := range bodies {
			item, err := parse(body, decode)
			if err != nil {
				errs[i] = fmt.Errorf("%w: %w", ErrPoison, err)
				continue
			}
			items, at = append(items, item), append(at, i)
		}
		if len(items) == 0 {
			return errs
		}
		for j, r := range batch.Isolate(ctx, items, do, faults.Whole) {
			switch {
			case r.Err == nil:
				if err := batch.Guard(func() error { done(ctx, items[j], r.Value); return nil }); err != nil {
					errs[at[j]] = fmt.Errorf("%w: %w", ErrPoison, err)
				}
			case faults.Whole(r.Err):
				errs[at[j]] = fmt.Errorf("%w: %w", ErrUnavailable, r.Err)
			case faults.Busy(r.Err):
				errs[at[j]] = fmt.Errorf("%w: %w", ErrBusy, r.Err)
			case permanent(r.Err), errors.Is(r.Err, batch.ErrPanic):
				errs[at[j]] = fmt.Errorf("%w: %w", ErrPoison, r.Err)
			default:
				errs[at[j]] = r.Err
			}
		}
		return errs
	}
}

func parse[T any](body []byte, decode func(events.Envelope) (T, error)) (item T, err error) {
	err = batch.Guard(func() error {
		e, err := events.Parse(body)
		if err == nil {
			item, err = decode(e)
		}
		return err
	})
	return item, err
}
