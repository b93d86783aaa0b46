package broker

import (
	"context"
	"errors"
	"fmt"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/batch"
)

// Errors that a [Handler] wraps to decide how the [Consumer] treats a message. A message
// with any other error is retried with backoff, and dead-lettered once it has failed for
// Config.DeadLetterAfter. So an unexpected error delays no other message.
var (
	// ErrPoison marks a message that can never be handled. It is dead-lettered at once.
	ErrPoison = errors.New("poison message")
	// ErrBusy marks a message that needs a lock held by another transaction. It is retried
	// for as long as that takes, while other messages are handled.
	ErrBusy = errors.New("waiting for a lock")
	// ErrUnavailable marks a message that cannot be handled now, for a reason that affects
	// every message. No new message is handled until the handler is available again.
	ErrUnavailable = errors.New("temporarily unavailable")
)

// Handler handles the bodies of a batch of messages. It returns one error for each, in
// order; nil means that it was handled. A message may be delivered more than once.
type Handler func(ctx context.Context, bodies [][]byte) []error

// Decoded returns a [Handler] that decodes events and passes them to do, which handles a
// set in one transaction. done is called with the result of each handled message.
//
// A message is poison if decode fails, if decode, do or done panics on it, or if its error is
// permanent. An error is permanent if faults.Permanent reports so, or if it wraps an error
// with a method Permanent() bool that returns true.
func Decoded[T, O any](
	decode func(events.Envelope) (T, error),
	do batch.Func[T, O],
	faults batch.Faults,
	done func(context.Context, T, O),
) Handler {
	return func(ctx context.Context, bodies [][]byte) []error {
		errs := make([]error, len(bodies))
		items, indexes := make([]T, 0, len(bodies)), make([]int, 0, len(bodies))
		for i, body := range bodies {
			item, err := parse(body, decode)
			if err != nil {
				errs[i] = fmt.Errorf("%w: %w", ErrPoison, err)
				continue
			}
			items, indexes = append(items, item), append(indexes, i)
		}
		if len(items) == 0 {
			return errs
		}
		for j, r := range batch.Isolate(ctx, items, do, faults.Whole) {
			i, err := indexes[j], r.Err
			switch {
			case err == nil:
				if err := batch.Guard(func() error { done(ctx, items[j], r.Value); return nil }); err != nil {
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

// isPermanent reports whether err wraps an error that describes itself as permanent.
func isPermanent(err error) bool {
	p, ok := errors.AsType[interface {
		error
		Permanent() bool
	}](err)
	return ok && p.Permanent()
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
