// Package batch lets concurrent callers share one unit of work, such as a commit.
//
// A batch is whatever arrived while the last one was being done. There is no
// timer: a lone caller passes at once, and a crowd shares the price.
//
//	callers ──► queue ──► Take what is there ──► do(items) ──► each caller its own answer
//	                          ▲                      │
//	                          └──── meanwhile ◄──────┘
//
// What each caller learns, whatever happens:
//
//	done                               its own result
//	an item of the batch is bad        its own result: the batch is halved until the bad item is alone
//	somebody else holds what it needs  its own result, later: it is retried, apart from the others
//	gave up while it was waiting       ErrNotStarted: its item was taken out, nothing was done
//	gave up while it was being done    ErrOutcomeUnknown: it may or may not be done
//	the batch failed as a whole        the error of the batch
package batch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// Errors of [Batcher.Do] for a caller that stopped waiting, and for calls after the end.
var (
	ErrNotStarted     = errors.New("not started: nothing was done")
	ErrOutcomeUnknown = errors.New("outcome unknown: it may or may not have been done")
)

// ErrPanic is wrapped by what [Guard] makes of a panic.
var ErrPanic = errors.New("panic")

// Guard calls fn and turns its panic into an error, with the stack. Work that is done
// again after a restart, such as a message or a row, must not end the process by a panic:
// every replica would end by it, again and again.
func Guard(fn func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, cause, debug.Stack())
		}
	}()
	return fn()
}

// Func does a set of items at once. It returns one result for each item, in
// order, or an error, which means that none of them was done.
type Func[I, O any] func(ctx context.Context, items []I) ([]O, error)

// Result is what became of one item.
type Result[O any] struct {
	Value O
	Err   error
}

// Take returns first and whatever else is in queue at this moment, at most limit in all.
func Take[T any](first T, queue <-chan T, limit int) []T {
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

// Isolate does all items at once. When that fails with an error that may concern one
// item, it does each half alone, and so on, so that a bad item fails without its
// neighbors. Items are yielded, with their index, as soon as their result is known.
//
// Only the first attempt may wait for locks (see [MayWait]): in a set that has failed
// before, one that is held by somebody else must not delay the neighbors again.
func Isolate[I, O any](ctx context.Context, items []I, do Func[I, O], whole func(error) bool) iter.Seq2[int, Result[O]] {
	return func(yield func(int, Result[O]) bool) {
		isolate(ctx, 0, items, do, whole, yield)
	}
}

// isolate does items, whose first has the index at, and reports whether to go on.
func isolate[I, O any](ctx context.Context, at int, items []I, do Func[I, O], whole func(error) bool, yield func(int, Result[O]) bool) bool {
	values, err := recovered(ctx, items, do)
	if err != nil && len(items) > 1 && !whole(err) {
		ctx, half := WithoutWaiting(ctx), len(items)/2
		return isolate(ctx, at, items[:half], do, whole, yield) && isolate(ctx, at+half, items[half:], do, whole, yield)
	}
	for i := range items {
		r := Result[O]{Err: err}
		if err == nil {
			r.Value = values[i]
		}
		if !yield(at+i, r) {
			return false
		}
	}
	return true
}

type waitKey struct{}

// WithoutWaiting returns a context in which [MayWait] is false.
func WithoutWaiting(ctx context.Context) context.Context {
	return context.WithValue(ctx, waitKey{}, false)
}

// MayWait reports whether a [Func] may wait for a lock that somebody else holds. If not,
// it must fail at once with an error that is [Faults].Busy.
func MayWait(ctx context.Context) bool { return ctx.Value(waitKey{}) == nil }

func recovered[I, O any](ctx context.Context, items []I, do Func[I, O]) (values []O, err error) {
	err = Guard(func() error {
		values, err = do(ctx, items)
		return err
	})
	if err == nil && len(values) != len(items) {
		err = fmt.Errorf("batch: %d results for %d items", len(values), len(items))
	}
	return values, err
}

// NewSizes is a histogram for batch sizes, registered under the name of what is batched.
func NewSizes(reg prometheus.Registerer, name string) prometheus.Observer {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:        "batch_size",
		Help:        "How many items shared one commit.",
		ConstLabels: prometheus.Labels{"batch": name},
		Buckets:     prometheus.ExponentialBuckets(1, 2, 10),
	})
	reg.MustRegister(h)
	return h
}
