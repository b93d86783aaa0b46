package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// retryEvery is the pause between two attempts at what was busy.
	retryEvery = 50 * time.Millisecond
	// retryMax bounds one such attempt, in items: a set of n busy items costs up to 2n
	// failing transactions, and fresh items wait meanwhile.
	retryMax = 16
	// grace is how long a caller that gives up waits for an attempt that is under way.
	grace = 250 * time.Millisecond
)

// Batcher collects the items of concurrent callers into batches. Any number of
// goroutines may call [Batcher.Do]; exactly one runs [Batcher.Run].
type Batcher[I, O any] struct {
	opts    Options[I, O]
	queue   chan *call[I, O]
	stopped chan struct{}

	// Used by Run alone: the calls whose item was busy, oldest first, and when to retry them.
	busy    []*call[I, O]
	retryAt time.Time
}

// Options of a [Batcher]; all are required.
type Options[I, O any] struct {
	Do     Func[I, O]
	Faults Faults
	Max    int // items in one batch
	// Timeout bounds one batch, including the repetition of its parts.
	Timeout time.Duration
	Sizes   prometheus.Observer // observes the size of each batch
}

type call[I, O any] struct {
	item  I
	state atomic.Int32
	done  chan Result[O]
}

// The states of a call. Whoever moves it out of waiting decides what its caller learns.
const (
	waiting   int32 = iota // nothing was done
	taken                  // it is being done
	abandoned              // its caller gave up while it was waiting
	left                   // its caller gave up while it was being done
)

// New makes a batcher; it does nothing until Run is called.
func New[I, O any](opts Options[I, O]) *Batcher[I, O] {
	return &Batcher[I, O]{opts: opts, queue: make(chan *call[I, O], opts.Max), stopped: make(chan struct{})}
}

// Do has item done in the next batch and waits for its result. An item that is busy is
// retried until ctx ends. When ctx ends first, the error wraps ErrNotStarted or
// ErrOutcomeUnknown and the cause.
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
	// It is being done: a moment later more is known, most of the time.
	c.state.CompareAndSwap(taken, left)
	moment := time.NewTimer(grace)
	defer moment.Stop()
	select {
	case r := <-c.done:
		return r.Value, r.Err
	case <-moment.C:
		return none, fmt.Errorf("%w: %w", ErrOutcomeUnknown, cause())
	}
}

// Run does batch after batch until ctx is done, then does what is still queued
// and returns. A batch is never cut off by ctx, only by its own timeout.
func (b *Batcher[I, O]) Run(ctx context.Context) error {
	defer close(b.stopped)
	for {
		var retry <-chan time.Time
		if len(b.busy) > 0 {
			wait := time.Until(b.retryAt)
			if wait <= 0 { // not left to the select, which a full queue could win forever
				b.retry(ctx)
				continue
			}
			retry = time.After(wait)
		}
		select {
		case first := <-b.queue:
			b.do(ctx, Take(first, b.queue, b.opts.Max))
		case <-retry:
		case <-ctx.Done():
			for {
				select {
				case first := <-b.queue:
					b.do(ctx, Take(first, b.queue, b.opts.Max))
				default:
					return nil // what is busy was not done: its callers learn that
				}
			}
		}
	}
}

// retry makes another attempt at what was busy, apart from fresh items and without
// waiting for locks, so that it delays them as little as possible.
func (b *Batcher[I, O]) retry(ctx context.Context) {
	n := min(len(b.busy), retryMax)
	calls := slices.Clone(b.busy[:n])
	b.busy = slices.Delete(b.busy, 0, n)
	b.retryAt = time.Now()
	if !b.do(WithoutWaiting(ctx), calls) {
		b.retryAt = b.retryAt.Add(retryEvery)
	}
}

// do does calls as one batch and reports whether none of them was busy.
func (b *Batcher[I, O]) do(ctx context.Context, calls []*call[I, O]) (all bool) {
	items := make([]I, 0, len(calls))
	kept := calls[:0]
	for _, c := range calls {
		if c.state.CompareAndSwap(waiting, taken) {
			kept, items = append(kept, c), append(items, c.item)
		}
	}
	if len(items) == 0 {
		return true
	}
	b.opts.Sizes.Observe(float64(len(items)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.opts.Timeout)
	defer cancel()
	all = true
	for i, r := range Isolate(ctx, items, b.opts.Do, b.opts.Faults.Whole) {
		if r.Err != nil && b.opts.Faults.Busy(r.Err) {
			all = false
			b.later(kept[i], r.Err)
			continue
		}
		kept[i].done <- r
	}
	return all
}

// later keeps a call for a retry, unless its caller has left.
func (b *Batcher[I, O]) later(c *call[I, O], busy error) {
	if !c.state.CompareAndSwap(taken, waiting) {
		c.done <- Result[O]{Err: fmt.Errorf("%w: %w", ErrNotStarted, busy)}
		return
	}
	if len(b.busy) == 0 {
		b.retryAt = time.Now().Add(retryEvery)
	}
	b.busy = append(b.busy, c)
}
