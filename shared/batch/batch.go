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
//	an item of the batch is bad        its own result: the batch was done again item by item
//	gave up while it was waiting       ErrNotStarted: its item was taken out, nothing was done
//	gave up while it was being done    ErrOutcomeUnknown: it may or may not be done
//	the batch failed as a whole        the error of the batch
package batch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Errors of [Batcher.Do] for a caller that stopped waiting, and for calls after the end.
var (
	ErrNotStarted     = errors.New("not started: nothing was done")
	ErrOutcomeUnknown = errors.New("outcome unknown: it may or may not have been done")
)

// ErrPanic is wrapped by what [Isolate] makes of a panic.
var ErrPanic = errors.New("panic")

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

// Isolate does all items at once. When that fails with an error that isItem says
// is the fault of an item, each is done alone, so that the bad one does not fail
// its neighbours. A panic counts as the fault of an item.
func Isolate[I, O any](ctx context.Context, items []I, do Func[I, O], isItem func(error) bool) []Result[O] {
	results := make([]Result[O], len(items))
	values, err := recovered(ctx, items, do)
	if err != nil && len(items) > 1 && (isItem(err) || errors.Is(err, ErrPanic)) {
		for i := range items {
			results[i] = Isolate(ctx, items[i:i+1], do, isItem)[0]
		}
		return results
	}
	for i := range results {
		if err != nil {
			results[i].Err = err
		} else {
			results[i].Value = values[i]
		}
	}
	return results
}

func recovered[I, O any](ctx context.Context, items []I, do Func[I, O]) (values []O, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, cause, debug.Stack())
		}
	}()
	values, err = do(ctx, items)
	if err == nil && len(values) != len(items) {
		err = fmt.Errorf("batch: %d results for %d items", len(values), len(items))
	}
	return values, err
}

// Batcher collects the items of concurrent callers into batches. Any number of
// goroutines may call [Batcher.Do]; exactly one runs [Batcher.Run].
type Batcher[I, O any] struct {
	opts    Options[I, O]
	queue   chan *call[I, O]
	stopped chan struct{}
}

// Options of a [Batcher]; all are needed.
type Options[I, O any] struct {
	Do     Func[I, O]
	IsItem func(error) bool // which errors of Do are the fault of one item
	Max    int              // items in one batch
	// Timeout bounds one batch, including its item by item repetition.
	Timeout time.Duration
	Sizes   prometheus.Observer // sees the size of each batch
}

type call[I, O any] struct {
	item  I
	state atomic.Int32
	done  chan Result[O]
}

const (
	waiting int32 = iota
	taken
	abandoned
)

// New makes a batcher; it does nothing until it is Run.
func New[I, O any](opts Options[I, O]) *Batcher[I, O] {
	return &Batcher[I, O]{opts: opts, queue: make(chan *call[I, O], opts.Max), stopped: make(chan struct{})}
}

// Do has item done in the next batch and waits for its result. When ctx ends
// first, the error wraps ErrNotStarted or ErrOutcomeUnknown and the cause.
func (b *Batcher[I, O]) Do(ctx context.Context, item I) (O, error) {
	c := &call[I, O]{item: item, done: make(chan Result[O], 1)}
	cause := func() error { return context.Cause(ctx) }
	select {
	case b.queue <- c:
		select {
		case r := <-c.done:
			return r.Value, r.Err
		case <-ctx.Done():
		case <-b.stopped:
			cause = func() error { return errors.New("shutting down") }
		}
	case <-ctx.Done():
	case <-b.stopped:
		cause = func() error { return errors.New("shutting down") }
	}
	var none O
	if c.state.CompareAndSwap(waiting, abandoned) {
		return none, fmt.Errorf("%w: %w", ErrNotStarted, cause())
	}
	select {
	case r := <-c.done: // it was answered just now
		return r.Value, r.Err
	default:
		return none, fmt.Errorf("%w: %w", ErrOutcomeUnknown, cause())
	}
}

// Run does batch after batch until ctx is done, then does what is still queued
// and returns. A batch is never cut off by ctx, only by its own timeout.
func (b *Batcher[I, O]) Run(ctx context.Context) error {
	defer close(b.stopped)
	for {
		select {
		case first := <-b.queue:
			b.do(ctx, first)
		case <-ctx.Done():
			for {
				select {
				case first := <-b.queue:
					b.do(ctx, first)
				default:
					return nil
				}
			}
		}
	}
}

func (b *Batcher[I, O]) do(ctx context.Context, first *call[I, O]) {
	calls := Take(first, b.queue, b.opts.Max)
	items := make([]I, 0, len(calls))
	kept := calls[:0]
	for _, c := range calls {
		if c.state.CompareAndSwap(waiting, taken) {
			kept, items = append(kept, c), append(items, c.item)
		}
	}
	if len(items) == 0 {
		return
	}
	b.opts.Sizes.Observe(float64(len(items)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.opts.Timeout)
	defer cancel()
	for i, r := range Isolate(ctx, items, b.opts.Do, b.opts.IsItem) {
		kept[i].done <- r
	}
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
