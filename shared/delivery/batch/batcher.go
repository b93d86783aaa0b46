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
	// retryInterval is the pause between two attempts to process busy items.
	retryInterval = 50 * time.Millisecond
	// retryMax is the maximum number of busy items in one attempt. An attempt with n busy
	// items costs up to 2n failing transactions, and new items wait until it ends.
	retryMax = 16
	// grace is how long [Batcher.Do] waits for an item that is in flight when ctx ends.
	grace = 250 * time.Millisecond
)

// Batcher collects the items of concurrent callers into batches. Any number of
// goroutines may call [Batcher.Do]; exactly one runs [Batcher.Run].
type Batcher[I, O any] struct {
	opts    Options[I, O]
	waiting atomic.Int64 // calls of Do
	queue   chan *call[I, O]
	stopped chan struct{}

	// Owned by Run: the calls with a busy item, oldest first, and the time of their next retry.
	busy    []*call[I, O]
	retryAt time.Time
}

// Options configures a [Batcher]. All fields are required.
type Options[I, O any] struct {
	Do     Func[I, O]
	Faults Faults
	Max    int // maximum number of items in one batch
	// Waiting is the maximum number of callers that wait at a time.
	Waiting int
	// Timeout bounds one batch, including the separate processing of its parts (see [Isolate]).
	Timeout time.Duration
	Sizes   prometheus.Observer // observes the size of each batch
}

type call[I, O any] struct {
	item  I
	state atomic.Int32
	done  chan Result[O] // buffered, so that Run never blocks on it
}

// The states of a call. Run moves a call between queued and inFlight; Do moves it to
// abandoned, which is final.
const (
	queued    int32 = iota // nothing was done
	inFlight               // the item is part of a batch that is running
	abandoned              // the caller gave up
)

var errStopped = errors.New("shutting down")

// New returns a batcher. It processes nothing until Run is called.
func New[I, O any](opts Options[I, O]) *Batcher[I, O] {
	return &Batcher[I, O]{opts: opts, queue: make(chan *call[I, O], opts.Max), stopped: make(chan struct{})}
}

// Do enqueues item for the next batch and waits for its result. If too many callers are
// waiting already, it returns ErrFull at once. A busy item is retried until ctx ends. If ctx
// ends first or Run returns, the error wraps ErrNotStarted or ErrOutcomeUnknown, and the
// cause.
func (b *Batcher[I, O]) Do(ctx context.Context, item I) (O, error) {
	defer b.waiting.Add(-1)
	if b.waiting.Add(1) > int64(b.opts.Waiting) {
		var none O
		return none, ErrFull
	}
	c := &call[I, O]{item: item, done: make(chan Result[O], 1)}
	var cause error
	select {
	case b.queue <- c:
		select {
		case r := <-c.done:
			return r.Value, r.Err
		case <-ctx.Done():
			cause = context.Cause(ctx)
		case <-b.stopped:
			cause = errStopped
		}
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-b.stopped:
		cause = errStopped
	}
	var zero O
	if c.state.Swap(abandoned) == queued {
		return zero, fmt.Errorf("%w: %w", ErrNotStarted, cause)
	}
	// The item is in flight: most attempts end within the grace period, with a known outcome.
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case r := <-c.done:
		return r.Value, r.Err
	case <-timer.C:
		return zero, fmt.Errorf("%w: %w", ErrOutcomeUnknown, cause)
	}
}

// Run processes batches until ctx is done. It then processes the items that are still
// queued and returns nil; busy items are not retried any more. The end of ctx does not
// interrupt a batch; only Options.Timeout does.
func (b *Batcher[I, O]) Run(ctx context.Context) error {
	defer close(b.stopped)
	for {
		var retry <-chan time.Time
		if len(b.busy) > 0 {
			wait := time.Until(b.retryAt)
			if wait <= 0 { // checked here because in the select a full queue could always win
				b.retry(ctx)
				continue
			}
			retry = time.After(wait)
		}
		select {
		case first := <-b.queue:
			b.process(ctx, take(first, b.queue, b.opts.Max))
		case <-retry:
		case <-ctx.Done():
			for {
				select {
				case first := <-b.queue:
					b.process(ctx, take(first, b.queue, b.opts.Max))
				default:
					return nil // the callers of busy items get ErrNotStarted
				}
			}
		}
	}
}

// retry makes another attempt to process the oldest busy items. It keeps them apart from
// new items and does not wait for locks, so that it delays new items as little as possible.
func (b *Batcher[I, O]) retry(ctx context.Context) {
	n := min(len(b.busy), retryMax)
	calls := slices.Clone(b.busy[:n])
	b.busy = slices.Delete(b.busy, 0, n)
	b.retryAt = time.Now()
	if b.process(WithoutWaiting(ctx), calls) {
		b.retryAt = b.retryAt.Add(retryInterval)
	}
}

// process runs calls as one batch, except those that were abandoned. It delivers the
// results, schedules a retry for busy items, and reports whether there were any.
func (b *Batcher[I, O]) process(ctx context.Context, calls []*call[I, O]) (anyBusy bool) {
	items := make([]I, 0, len(calls))
	started := calls[:0]
	for _, c := range calls {
		if c.state.CompareAndSwap(queued, inFlight) {
			started, items = append(started, c), append(items, c.item)
		}
	}
	if len(items) == 0 {
		return false
	}
	b.opts.Sizes.Observe(float64(len(items)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.opts.Timeout)
	defer cancel()
	for i, r := range Isolate(ctx, items, b.opts.Do, b.opts.Faults.Whole) {
		if r.Err != nil && b.opts.Faults.Busy(r.Err) {
			anyBusy = true
			b.requeue(started[i], r.Err)
			continue
		}
		started[i].done <- r
	}
	return anyBusy
}

// requeue keeps a call with a busy item for a retry, unless its caller gave up.
func (b *Batcher[I, O]) requeue(c *call[I, O], busy error) {
	if !c.state.CompareAndSwap(inFlight, queued) {
		c.done <- Result[O]{Err: fmt.Errorf("%w: %w", ErrNotStarted, busy)}
		return
	}
	if len(b.busy) == 0 {
		b.retryAt = time.Now().Add(retryInterval)
	}
	b.busy = append(b.busy, c)
}
