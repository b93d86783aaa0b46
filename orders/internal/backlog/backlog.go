// Package backlog refuses new orders while the shop does not keep up with those that it has
// accepted.
//
// Accepting an order is cheaper than settling it, so under overload the orders that wait in the
// outboxes and queues would become ever older, while accepting takes the CPU time that settling
// them needs. The age of the backlog is that of an order when its result arrives. It includes
// every step on the way there and costs no query. The speed is the time that lies between the
// creation of two orders, divided by the time between their results: an order that is accepted
// now will be settled after about age / speed.
//
// New orders are refused while that is above a limit and the shop is not catching up:
//
//	overload                              the speed is below 1, so the age grows: refused until it has fallen
//	broker or payments is down            there are no results, so nothing is refused: the outbox or a queue keeps the orders
//	broker blocks publishers (an alarm)   the same
//	they are back                         the age is that of the outage, but the speed is above 1: nothing is refused
//	they are back, under overload         the speed is about 1: refused, so that the outage is caught up with
//	a message was repeated or delayed     others that were created later are settled already, or none was: it does not count
//	the broker is down for very long      refused once the outbox has OUTBOX_MAX rows
//
// Only new orders are refused. Every replica decides by the results that it receives itself.
package backlog

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gozon/shared/service"
)

const (
	// interval is how long the speed is measured before the next decision.
	interval = time.Second
	// minSpeed bounds the estimate of age / speed. Orders that were placed at the same moment
	// are settled at the speed 0, but there are not infinitely many of them.
	minSpeed = 0.25
	// catchingUp is the speed at which the shop is catching up.
	catchingUp = 1.5
	// outage is the time without results after which they are no longer considered to flow.
	outage = 3 * time.Second
	// countEvery is the interval at which the rows of the outbox are counted.
	countEvery   = 5 * time.Second
	countTimeout = 5 * time.Second
)

// Reasons to refuse an order.
var (
	errBehind = &service.OverloadError{Reason: "backlog", Detail: "too many orders are waiting for their payment"}
	errOutbox = &service.OverloadError{Reason: "outbox_full", Detail: "too many orders are waiting for the message broker"}
)

// Outbox counts the rows of the outbox, up to a limit.
type Outbox interface {
	OutboxRows(ctx context.Context, limit int) (int, error)
}

// Backlog decides whether new orders are accepted. It is safe for concurrent use.
type Backlog struct {
	maxAge  time.Duration
	maxRows int
	outbox  Outbox
	log     *slog.Logger

	refusedUntil atomic.Int64 // in Unix nanoseconds; 0 if orders are accepted
	admitted     atomic.Int64 // when the last order was admitted, in Unix nanoseconds
	full         atomic.Bool

	mu     sync.Mutex
	newest time.Time     // when the newest settled order was created
	age    time.Duration // of that order when it was settled
	at     time.Time     // when it was settled
	// newest and at, at the beginning of the interval.
	newestBefore, since time.Time

	refuses bool
}

// New returns a backlog that refuses orders while it is older than maxAge, or while the outbox
// has maxRows rows. It registers its metrics.
func New(maxAge time.Duration, maxRows int, outbox Outbox, log *slog.Logger, reg prometheus.Registerer) *Backlog {
	b := &Backlog{maxAge: maxAge, maxRows: maxRows, outbox: outbox, log: log}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orders_backlog_age_seconds", Help: "Age of the newest settled order when it was settled; 0 while there are no results.",
	}, func() float64 {
		b.mu.Lock()
		defer b.mu.Unlock()
		if time.Since(b.at) > outage {
			return 0
		}
		return b.age.Seconds()
	}))
	return b
}

// Admit returns a [service.OverloadError] if a new order must be refused.
func (b *Backlog) Admit() error {
	now := time.Now().UnixNano()
	switch {
	case now < b.refusedUntil.Load():
		return errBehind
	case b.full.Load():
		return errOutbox
	}
	b.admitted.Store(now)
	return nil
}

// Settled reports that the result of an order that was created at the given time has been
// applied.
func (b *Backlog) Settled(created time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !created.After(b.newest) {
		return
	}
	now := time.Now()
	quiet := now.Sub(b.at) > outage
	b.newest, b.at, b.age = created, now, now.Sub(created)
	switch elapsed := now.Sub(b.since); {
	case quiet || created.UnixNano() >= b.admitted.Load(): // nothing is waiting, or nothing is known yet
		b.newestBefore, b.since, b.refuses = created, now, false
	case elapsed >= interval:
		speed := created.Sub(b.newestBefore).Seconds() / elapsed.Seconds()
		b.refuses = speed < catchingUp && b.age.Seconds() > b.maxAge.Seconds()*min(max(speed, minSpeed), 1)
		b.newestBefore, b.since = created, now
	}
	if !b.refuses {
		b.refusedUntil.Store(0)
		return
	}
	b.refusedUntil.Store(now.Add(interval).UnixNano()) // ends by itself if the results end
}

// Run counts the rows of the outbox until ctx is done.
func (b *Backlog) Run(ctx context.Context) error {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		b.count(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (b *Backlog) count(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	n, err := b.outbox.OutboxRows(ctx, b.maxRows)
	if err != nil {
		if ctx.Err() == nil {
			b.log.WarnContext(ctx, "backlog: could not count the rows of the outbox, retrying", "error", err, "retry_in", countEvery.String())
		}
		return
	}
	b.full.Store(n >= b.maxRows)
}
