// Package watchdog finds orders that wait for payments for too long, and has their requests
// repeated.
//
// An order stays NEW or CANCELLING if the message with its request, or with the reply, is lost
// after the broker has confirmed it: a queue was purged or deleted, the broker lost its disk,
// or one of the two was restored from a backup. Nothing else notices, because the outbox row
// was deleted at the confirm.
//
//	every second, one replica:
//	  examine the orders that reached the limit since the last sweep ─► watched
//	  examine a few old orders, from the first one on, in a loop ─────► watched
//	  inspect watched orders that are due:
//	    it no longer waits       remove it
//	    it is overdue            count it, log it once, repeat its request with backoff
//
// What could go wrong:
//
//	a replica dies during a sweep       its transaction is rolled back; another replica sweeps a second later
//	it dies before the log line         the order is repeated and counted, but not logged
//	the broker is down                  the outbox keeps the requests; nothing is repeated until it is emptied
//	payments is down                    requests are repeated at a bounded rate, and all but the first have no effect
//	one order causes an error           it is retried every second, the others are inspected
//	an order commits after its range    a sweep does not pass transactions that are open; the patrol finds the rest
package watchdog

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/orders/internal/order"
	"gozon/shared/delivery/batch"
)

const (
	sweepEvery   = time.Second
	sweepTimeout = 10 * time.Second
	retryMax     = 30 * time.Second

	maxRepeats = 256 // per sweep
	// maxRounds bounds the inspections of a sweep. Most inspections remove an order or postpone
	// it, and do not count as repetitions.
	maxRounds = 8
	loggedIDs = 5

	// Nothing is repeated while the oldest row of the outbox is older than this fraction of the
	// limit. The relay is then not emptying it, so the requests may still be in there, and more
	// rows would not help.
	holdFraction = 6
)

// Store finds the orders.
type Store interface {
	// Sweep begins a sweep, unless another replica has done so within about a second. It adds
	// orders that have waited for limit to the watched ones.
	Sweep(ctx context.Context, limit time.Duration) (Sweep, error)
	// Due returns at most limit watched orders whose inspection is due, the longest due first.
	Due(ctx context.Context, limit int) ([]uuid.UUID, error)
	// Overdue returns the number of watched orders that have waited for limit, and the longest
	// time that one of them has waited.
	Overdue(ctx context.Context, limit time.Duration) (n int64, oldest time.Duration, err error)
}

// Sweep describes a sweep.
type Sweep struct {
	Began       bool          // false if another replica has just swept
	TrustedFrom time.Time     // the end of the last interruption of the sweeps; see [order.Service.Trust]
	OutboxAge   time.Duration // of the oldest row
}

// Watchdog sweeps. Any number of replicas may run one; they take turns.
type Watchdog struct {
	orders   *order.Service
	store    Store
	whole    func(error) bool // see [batch.Faults]
	limit    time.Duration
	log      *slog.Logger
	repeated prometheus.Counter
}

// New returns a watchdog of orders that wait for longer than limit, and registers its metrics.
func New(orders *order.Service, store Store, whole func(error) bool, limit time.Duration, log *slog.Logger, reg prometheus.Registerer) *Watchdog {
	w := &Watchdog{
		orders: orders, store: store, whole: whole, limit: limit, log: log,
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "order_requests_repeated_total", Help: "Repeated requests of orders that waited for payments for too long.",
		}),
	}
	reg.MustRegister(w.repeated, newCollector(store, limit))
	return w
}

// Run sweeps every second until ctx is done. A failure is logged and retried with backoff.
func (w *Watchdog) Run(ctx context.Context) error {
	for wait, backoff := sweepEvery, sweepEvery; ; {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		err := batch.Guard(func() error { return w.sweep(ctx) })
		wait = sweepEvery
		switch {
		case err == nil:
			backoff = sweepEvery
		case ctx.Err() == nil:
			wait = backoff
			w.log.WarnContext(ctx, "watchdog: sweep failed, retrying", "error", err, "retry_in", wait.String())
			backoff = min(2*backoff, retryMax)
		}
	}
}

func (w *Watchdog) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	s, err := w.store.Sweep(ctx, w.limit)
	if err != nil {
		return err
	}
	w.orders.Trust(s.TrustedFrom)
	if !s.Began {
		return nil
	}
	found := findings{policy: order.Policy{Limit: w.limit, Hold: s.OutboxAge > w.limit/holdFraction}}
	defer func() { w.report(ctx, found) }()
	for range maxRounds {
		limit := maxRepeats - found.repeated // each of them may be repeated
		due, err := w.store.Due(ctx, limit)
		if err != nil {
			return err
		}
		if err := w.inspect(ctx, due, &found); err != nil {
			return err
		}
		if len(due) < limit || found.repeated == maxRepeats {
			break
		}
	}
	return nil
}

// findings sums up a sweep.
type findings struct {
	policy            order.Policy
	noticed, repeated int
	ids               []uuid.UUID // some of the noticed ones
	failed            int         // orders that the next sweep inspects again
	err               error       // of one of them
}

// inspect inspects orders. An order that causes an error fails alone.
func (w *Watchdog) inspect(ctx context.Context, ids []uuid.UUID, found *findings) error {
	if len(ids) == 0 {
		return nil
	}
	inspect := func(ctx context.Context, ids []uuid.UUID) ([]order.Inspection, error) {
		return w.orders.Inspect(ctx, ids, found.policy)
	}
	for _, r := range batch.Isolate(ctx, ids, inspect, w.whole) {
		switch {
		case r.Err != nil && w.whole(r.Err):
			return r.Err
		case r.Err != nil:
			found.failed++
			found.err = r.Err
			continue
		}
		if r.Value.Repeated {
			found.repeated++
			w.repeated.Inc()
		}
		if r.Value.Noticed {
			if found.noticed++; len(found.ids) < loggedIDs {
				found.ids = append(found.ids, r.Value.OrderID)
			}
		}
	}
	return nil
}

// report logs the orders that a sweep has found overdue, or could not inspect.
func (w *Watchdog) report(ctx context.Context, found findings) {
	if found.noticed > 0 {
		w.log.WarnContext(ctx, "watchdog: orders are overdue, repeating their requests",
			"orders", found.noticed, "ids", found.ids, "waiting_for_the_outbox", found.policy.Hold)
	}
	if found.failed > 0 {
		w.log.ErrorContext(ctx, "watchdog: orders could not be inspected, retrying", "orders", found.failed, "error", found.err)
	}
}
