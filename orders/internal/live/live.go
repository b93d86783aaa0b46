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
	reconcileEvery = 15 * time.Second // also the heartbeat of every stream
	retryAfter     = time.Second
	readWithin     = 10 * time.Second
	chunk          = 256  // orders that are read or told at once
	heardMax       = 1024 // notifications that wait for the hub

	// deliveredMax bounds the memory of what was delivered, to a few megabytes. Half of it
	// is what 2,000 changes a second leave until the next reconciliation; beyond that it is
	// brought forward.
	deliveredMax = 1 << 16
)

// Errors of [Hub.Follow].
var (
	ErrTooMany  = errors.New("too many streams")
	ErrNotReady = errors.New("the first watermark is not there yet")
)

// Store is what the hub reads. order.Store has it.
type Store interface {
	Orders(ctx context.Context, ids ...uuid.UUID) ([]order.Order, error)
	OrdersOf(ctx context.Context, user int64, before uuid.UUID, limit int) ([]order.Order, error)
	Snapshot(ctx context.Context) (order.Snapshot, error)
	ChangedSince(ctx context.Context, since order.Snapshot, limit int, users ...int64) iter.Seq2[order.Order, error]
}

// Source tells of every change from the moment on at which it calls listening. After
// it has called lost it tells nothing until it calls listening again.
type Source interface {
	Run(ctx context.Context, listening func(), lost func(error), told func([]order.Changed))
}

// Hub has the streams of one replica. It is safe for concurrent use; exactly one
// goroutine runs [Hub.Run].
type Hub struct {
	store  Store
	source Source
	log    *slog.Logger
	max    int

	heard   chan []order.Changed
	missed  chan struct{} // something may have been missed: reconcile
	missing atomic.Pointer[string]

	mu      sync.Mutex
	streams map[int64]map[*Stream]struct{}
	count   int

	// Of Run alone: the snapshot of the last reconciliation, whose changes were all
	// delivered, and the changes beyond it that were delivered as well, which the next
	// reconciliation would otherwise deliver again.
	reconciled order.Snapshot
	delivered  map[uuid.UUID]delivery
	remembered atomic.Int64 // how many these are
	begun      atomic.Bool  // there is a snapshot: what changes from now on is delivered
}

type delivery struct {
	version   int64
	changedIn order.Watermark
}

// NewHub makes a hub of at most limit streams and registers its metrics.
func NewHub(store Store, source Source, limit int, log *slog.Logger, reg prometheus.Registerer) *Hub {
	h := &Hub{
		store: store, source: source, log: log, max: limit,
		heard: make(chan []order.Changed, heardMax), missed: make(chan struct{}, 1),
		streams: map[int64]map[*Stream]struct{}{}, delivered: map[uuid.UUID]delivery{},
	}
	h.lost(errors.New("not connected yet"))
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "order_streams_remembered_changes", Help: "Delivered changes that are remembered until the next reconciliation.",
	}, func() float64 { return float64(h.remembered.Load()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "order_streams", Help: "Event streams of orders that are open.",
	}, func() float64 {
		h.mu.Lock()
		defer h.mu.Unlock()
		return float64(h.count)
	}))
	return h
}

// Ready is nil while changes are heard at once, and says otherwise what is wrong:
// then they are told with the next reconciliation.
func (h *Hub) Ready(context.Context) error {
	if why := h.missing.Load(); why != nil {
		return errors.New(*why)
	}
	if !h.begun.Load() {
		return ErrNotReady
	}
	return nil
}

func (h *Hub) lost(err error) {
	why := err.Error()
	h.missing.Store(&why)
}

func (h *Hub) listening() {
	h.missing.Store(nil)
	h.reconcileSoon()
}

func (h *Hub) reconcileSoon() {
	select {
	case h.missed <- struct{}{}:
	default: // it is going to anyway
	}
}

// Run tells the streams what happens until ctx is done; then it ends them.
func (h *Hub) Run(ctx context.Context) error {
	listenCtx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); h.listen(listenCtx) }()
	defer func() { stop(); <-done; h.endAll() }()
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	h.reconcileSoon()          // the first snapshot
	var again <-chan time.Time // a reconciliation is due, for something was missed
	for {
		step, reconcile := h.reconcile, true
		select {
		case changed := <-h.heard:
			ids := h.followed(changed)
			step, reconcile = func(ctx context.Context) error { return h.tell(ctx, ids) }, false
		case <-h.missed:
		case <-again:
		case <-tick.C:
			step = func(ctx context.Context) error { defer h.beat(); return h.reconcile(ctx) }
		case <-ctx.Done():
			return nil
		}
		err := batch.Guard(func() error { return step(ctx) })
		switch {
		case err != nil && ctx.Err() == nil:
			h.log.WarnContext(ctx, "live: changes of orders not delivered, retrying", "error", err, "after", retryAfter.String())
			again = time.After(retryAfter)
		case reconcile:
			again = nil
		case len(h.delivered) > deliveredMax/2:
			h.reconcileSoon() // it forgets most of them
		}
	}
}

// listen runs the source until ctx is done, and once more after each panic.
func (h *Hub) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := batch.Guard(func() error {
			h.source.Run(ctx, h.listening, h.lost, func(c []order.Changed) {
				select {
				case h.heard <- c:
				case <-ctx.Done():
				}
			})
			return errors.New("the source returned")
		})
		if ctx.Err() != nil {
			return
		}
		h.lost(errors.New("not listening"))
		h.log.ErrorContext(ctx, "live: not listening for changes of orders, retrying", "error", err, "after", retryAfter.String())
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
		}
	}
}
