package live

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/orders/internal/order"
	"gozon/shared/delivery/batch"
)

const (
	reconcileEvery = 15 * time.Second // also the heartbeat interval of every stream
	goneEvery      = time.Second      // how soon the end of a connection is noticed
	retryDelay     = time.Second
	readTimeout    = 10 * time.Second
	chunk          = 256  // orders read or delivered at once
	pendingMax     = 1024 // notifications waiting for the hub

	// deliveredMax bounds the memory for delivered versions to a few megabytes. At 2,000
	// changes per second, half of it is filled between two reconciliations. At higher rates,
	// the next reconciliation starts earlier.
	deliveredMax = 1 << 16
)

// Errors of [Hub.Follow].
var (
	ErrTooMany       = errors.New("too many streams")
	ErrTooManyOfUser = errors.New("too many streams of the user")
	ErrNotReady      = errors.New("the first watermark is not known yet")
)

// Store reads the changed orders for the hub.
type Store interface {
	// Revisions returns the orders with the given ids, in no particular order. Unknown ids
	// are left out.
	Revisions(ctx context.Context, ids ...uuid.UUID) ([]Revision, error)
	// Snapshot returns the database's current snapshot.
	Snapshot(ctx context.Context) (Snapshot, error)
	// ChangedSince returns the users' orders whose newest change the snapshot does not
	// include, ordered by user, at most limit unless that is 0. It stops at the first error.
	ChangedSince(ctx context.Context, since Snapshot, limit int, users ...int64) iter.Seq2[Revision, error]
}

// Pages returns the pages of a user's orders. [order.Service] implements it.
type Pages interface {
	OrdersOf(ctx context.Context, user int64, before uuid.UUID, limit int) (order.Page, error)
}

// Source calls deliver with the changes of all replicas. It misses none after it has called
// listening. After it has called lost, it delivers nothing until it calls listening again.
// Run returns when ctx is done.
type Source interface {
	Run(ctx context.Context, listening func(), lost func(error), deliver func([]Changed))
}

// Hub manages the streams of one replica. It is safe for concurrent use; exactly one goroutine
// calls [Hub.Run].
type Hub struct {
	pages  Pages
	store  Store
	source Source
	log    *slog.Logger
	limits Limits

	received chan []Changed
	due      chan struct{} // a reconciliation is due: a change may have been missed
	notReady atomic.Pointer[string]

	mu      sync.Mutex
	streams map[int64]map[*Stream]struct{}
	count   int

	// Used by Run alone: the snapshot of the last reconciliation, all of whose changes were
	// delivered, and the versions delivered since, so that reconciliation does not resend them.
	reconciled     Snapshot
	delivered      map[uuid.UUID]delivery
	deliveredCount atomic.Int64
	started        atomic.Bool // the first snapshot was taken: later changes are delivered
}

type delivery struct {
	version   int64
	changedIn Watermark
}

// Limits are the maximum numbers of open streams, so that no user can take all of them.
type Limits struct{ All, PerUser int }

// NewHub returns a hub and registers its metrics.
func NewHub(pages Pages, store Store, source Source, limits Limits, log *slog.Logger, reg prometheus.Registerer) *Hub {
	h := &Hub{
		pages: pages, store: store, source: source, log: log, limits: limits,
		received: make(chan []Changed, pendingMax), due: make(chan struct{}, 1),
		streams: map[int64]map[*Stream]struct{}{}, delivered: map[uuid.UUID]delivery{},
	}
	h.lost(errors.New("not connected yet"))
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "order_streams_remembered_changes", Help: "Delivered changes that are remembered until the next reconciliation.",
	}, func() float64 { return float64(h.deliveredCount.Load()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "order_streams", Help: "Open event streams.",
	}, func() float64 {
		h.mu.Lock()
		defer h.mu.Unlock()
		return float64(h.count)
	}))
	return h
}

// Ready returns nil while the hub receives changes immediately. Otherwise it returns an
// error with the reason, and changes are delivered by the next reconciliation.
func (h *Hub) Ready(context.Context) error {
	if reason := h.notReady.Load(); reason != nil {
		return errors.New(*reason)
	}
	if !h.started.Load() {
		return ErrNotReady
	}
	return nil
}

func (h *Hub) lost(err error) {
	reason := err.Error()
	h.notReady.Store(&reason)
}

func (h *Hub) listening() {
	h.notReady.Store(nil)
	h.reconcileSoon()
}

func (h *Hub) reconcileSoon() {
	select {
	case h.due <- struct{}{}:
	default: // already due
	}
}

// Run delivers changes to the streams until ctx is done, then ends the streams.
func (h *Hub) Run(ctx context.Context) error {
	listenCtx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); h.listen(listenCtx) }()
	defer func() { stop(); <-done; h.endAll() }()
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	gone := time.NewTicker(goneEvery)
	defer gone.Stop()
	h.reconcileSoon() // the first snapshot
	var retry <-chan time.Time
	for {
		step, reconcile := h.reconcile, true
		select {
		case changed := <-h.received:
			ids := h.followed(changed)
			step, reconcile = func(ctx context.Context) error { return h.deliverByID(ctx, ids) }, false
		case <-h.due:
		case <-retry:
		case <-tick.C:
			step = func(ctx context.Context) error { defer h.heartbeat(); return h.reconcile(ctx) }
		case <-gone.C:
			h.endGone()
			continue
		case <-ctx.Done():
			return nil
		}
		err := batch.Guard(func() error { return step(ctx) })
		switch {
		case err != nil && ctx.Err() == nil:
			h.log.WarnContext(ctx, "live: delivery failed, reconciling", "error", err, "retry_in", retryDelay.String())
			retry = time.After(retryDelay)
		case reconcile:
			retry = nil
		case len(h.delivered) > deliveredMax/2:
			h.reconcileSoon() // it removes most of them
		}
	}
}

// listen runs the source until ctx is done and restarts it after a panic.
func (h *Hub) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := batch.Guard(func() error {
			h.source.Run(ctx, h.listening, h.lost, func(c []Changed) {
				select {
				case h.received <- c:
				case <-ctx.Done():
				}
			})
			return errors.New("the source returned")
		})
		if ctx.Err() != nil {
			return
		}
		h.lost(errors.New("not listening"))
		h.log.ErrorContext(ctx, "live: listener failed, restarting", "error", err, "retry_in", retryDelay.String())
		select {
		case <-time.After(retryDelay):
		case <-ctx.Done():
		}
	}
}
