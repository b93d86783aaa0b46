// Package batch lets concurrent callers share one unit of work, such as a commit.
//
// A batch consists of the items that were enqueued while the previous batch was
// running. There is no timer: a single caller never waits for others, and
// concurrent callers share the cost.
//
//	callers ──► queue ──► take up to Max items ──► Func(items) ──► one result per caller
//	                        ▲                           │
//	                        └────── next batch ◄────────┘
//
// Result of [Batcher.Do] by case:
//
//	batch succeeded                    the result of the caller's own item
//	another item of the batch is bad   the result of the caller's own item: the batch is halved until the bad item is alone
//	another transaction holds a lock   the result of the caller's own item, later: it is retried separately from new items
//	too many callers are waiting       ErrFull, at once: nothing was done
//	caller gave up, item still queued  ErrNotStarted: the item is dropped, nothing was done
//	caller gave up, item in flight     ErrOutcomeUnknown, unless the attempt ends within 250 ms
//	batch failed as a whole            the error of the batch
package batch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// Errors that [Batcher.Do] returns if its context ends first or the batcher has stopped. With
// ErrOutcomeUnknown, the item may or may not have been processed.
var (
	ErrNotStarted     = errors.New("not started: nothing was done")
	ErrOutcomeUnknown = errors.New("outcome unknown: it may or may not have been done")
)

// ErrFull is returned by [Batcher.Do] if too many callers are waiting.
var ErrFull = errors.New("too many requests are waiting: nothing was done")

// ErrPanic is wrapped by the errors that [Guard] returns for a panic.
var ErrPanic = errors.New("panic")

// Guard calls fn and converts a panic into an error that contains the stack. Use it for
// work that survives a restart, such as a message or a row: if its panic ended the
// process, every replica would crash on it repeatedly.
func Guard(fn func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, cause, debug.Stack())
		}
	}()
	return fn()
}

// Func processes a set of items at once. It returns one result per item, in order.
// An error means that no item was processed.
type Func[I, O any] func(ctx context.Context, items []I) ([]O, error)

// Result is the result of one item.
type Result[O any] struct {
	Value O
	Err   error
}

// take returns first and the items that queue holds at this moment, at most limit in total.
// It does not block.
func take[T any](first T, queue <-chan T, limit int) []T {
	items := append(make([]T, 0, min(limit, 1+len(queue))), first)
	for len(items) < limit {
		select {
		case item := <-queue:
			items = append(items, item)
		default:
			return items
		}
	}
	return items
}

// Faults classifies the errors of a [Func]. An error that is neither Whole nor Busy
// concerns one item, as does a panic.
type Faults struct {
	// Whole reports an error that no item has caused, such as a database that is down.
	// Doing the items one by one would fail the same way.
	Whole func(error) bool
	// Busy reports that another transaction holds what an item needs, such as a row lock.
	// The item can be done later.
	Busy func(error) bool
	// Permanent reports an error of one item that another attempt cannot change.
	Permanent func(error) bool
}

// Isolate processes all items with one call of do. If the call fails with an error that may
// concern a single item, Isolate processes each half separately, and so on, so that a bad
// item fails without its neighbors. It yields the index and the result of each item, in
// order, as soon as the result is known. whole is [Faults].Whole.
//
// Only the first call may wait for locks (see [MayWait]): once a set has failed, a lock that
// another transaction holds must not delay the neighbors a second time.
func Isolate[I, O any](ctx context.Context, items []I, do Func[I, O], whole func(error) bool) iter.Seq2[int, Result[O]] {
	type span struct{ from, to int }
	return func(yield func(int, Result[O]) bool) {
		for pending := []span{{0, len(items)}}; len(pending) > 0; {
			s := pending[len(pending)-1]
			pending = pending[:len(pending)-1]
			n, callCtx := s.to-s.from, ctx
			if n < len(items) {
				callCtx = WithoutWaiting(ctx)
			}
			var values []O
			err := Guard(func() (err error) {
				values, err = do(callCtx, items[s.from:s.to])
				return err
			})
			if err == nil && len(values) != n {
				err = fmt.Errorf("batch: %d results for %d items", len(values), n)
			}
			if err != nil && n > 1 && !whole(err) {
				middle := s.from + n/2
				pending = append(pending, span{middle, s.to}, span{s.from, middle}) // the first half is on top
				continue
			}
			for i := range n {
				r := Result[O]{Err: err}
				if err == nil {
					r.Value = values[i]
				}
				if !yield(s.from+i, r) {
					return
				}
			}
		}
	}
}

type waitKey struct{}

// WithoutWaiting returns a context in which [MayWait] is false.
func WithoutWaiting(ctx context.Context) context.Context {
	return context.WithValue(ctx, waitKey{}, false)
}

// MayWait reports whether a [Func] may wait for a lock that another transaction holds. If
// it is false, the Func must fail at once with an error that [Faults].Busy accepts.
func MayWait(ctx context.Context) bool { return ctx.Value(waitKey{}) == nil }

// NewSizes registers and returns a histogram of batch sizes. The label batch is name.
func NewSizes(reg prometheus.Registerer, name string) prometheus.Observer {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:        "batch_size",
		Help:        "Number of items in one batch.",
		ConstLabels: prometheus.Labels{"batch": name},
		Buckets:     prometheus.ExponentialBuckets(1, 2, 10),
	})
	reg.MustRegister(h)
	return h
}
