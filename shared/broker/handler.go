package broker

import (
	"context"
	"errors"
	"fmt"

	"gozon/shared/batch"
	"gozon/shared/events"
)

// Decoded makes a [Handler] of a use case that works on sets. decode reads one
// event; what it cannot read is poison. do handles a set, in one transaction;
// an error that isItem says is the fault of one message makes only that one
// poison. done sees what became of each message that was handled.
func Decoded[T, O any](
	decode func(events.Envelope) (T, error),
	do batch.Func[T, O],
	isItem func(error) bool,
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
		for j, r := range batch.Isolate(ctx, items, do, isItem) {
			switch {
			case r.Err == nil:
				done(ctx, items[j], r.Value)
			case isItem(r.Err) || errors.Is(r.Err, batch.ErrPanic):
				errs[at[j]] = fmt.Errorf("%w: %w", ErrPoison, r.Err)
			default:
				errs[at[j]] = r.Err
			}
		}
		return errs
	}
}

func parse[T any](body []byte, decode func(events.Envelope) (T, error)) (T, error) {
	e, err := events.Parse(body)
	if err != nil {
		var none T
		return none, err
	}
	return decode(e)
}
