// Package live tells followers of a user's orders of every change, whichever replica
// makes it.
//
//	tx { change orders; NOTIFY } ── commit ──► each replica's listener ──► Hub ──► the streams of that user
//	                                             every 15 s: reconcile ──────┘
//
// A notification only says which orders changed; the hub reads them, once for all of
// its streams. Changes that follow each other faster than that are told as one.
//
// Nothing is missed, by one rule: whatever a stream is told carries a watermark, below
// which every change has been told to it. A client that comes back with it, to whichever
// replica, is told what changed at or above it. What a failure does:
//
//	the listener's connection is lost    a new one; then a reconciliation reads what was not heard
//	a notification was not heard at all  the next reconciliation reads what it was about
//	the database is down                 streams stay, heartbeats go on, a reconciliation follows
//	a stream does not keep up            it is cut off; its client comes back with its watermark
//	the replica dies                     the same
package live

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/orders/internal/order"
)

const (
	reconcileEvery = 15 * time.Second // also the heartbeat of every stream
	retryAfter     = time.Second
	readWithin     = 10 * time.Second
	chunk          = 256  // orders that are read or told at once
	heardMax       = 1024 // notifications that wait for the hub
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
	Watermark(ctx context.Context) (order.Watermark, error)
	ChangedSince(ctx context.Context, since order.Watermark, limit int, users ...int64) iter.Seq2[order.Order, error]
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

	// Of Run alone: the watermark of the last reconciliation, and what was told of the
	// changes at or above it, which the next would otherwise tell again.
	mark  order.Watermark
	told  map[uuid.UUID]telling
	begun atomic.Bool // there is a mark: what changes from now on is told
}

type telling struct {
	version   int64
	changedIn order.Watermark
}

// NewHub makes a hub of at most limit streams and registers its metrics.
func NewHub(store Store, source Source, limit int, log *slog.Logger, reg prometheus.Registerer) *Hub {
	h := &Hub{
		store: store, source: source, log: log, max: limit,
		heard: make(chan []order.Changed, heardMax), missed: make(chan struct{}, 1),
		streams: map[int64]map[*Stream]struct{}{}, told: map[uuid.UUID]telling{},
	}
	h.lost(errors.New("not connected yet"))
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
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
	sourced, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.source.Run(sourced, h.listening, h.lost, func(c []order.Changed) {
			select {
			case h.heard <- c:
			case <-sourced.Done():
			}
		})
	}()
	defer func() { stop(); <-done; h.endAll() }()
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	h.reconcileSoon()          // the first mark
	var again <-chan time.Time // a reconciliation is due, for something was missed
	for {
		reconcile := true
		var err error
		select {
		case changed := <-h.heard:
			err, reconcile = h.tell(ctx, h.followed(changed)), false
		case <-h.missed:
			err = h.reconcile(ctx)
		case <-again:
			err = h.reconcile(ctx)
		case <-tick.C:
			err = h.reconcile(ctx)
			h.beat()
		case <-ctx.Done():
			return nil
		}
		switch {
		case err != nil && ctx.Err() == nil:
			h.log.WarnContext(ctx, "changes of orders not told, will try again", "error", err, "after", retryAfter.String())
			again = time.After(retryAfter)
		case reconcile:
			again = nil
		}
	}
}

// followed are the orders of users who have a stream, of changed and of all else that
// was heard meanwhile.
func (h *Hub) followed(changed []order.Changed) []uuid.UUID {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []uuid.UUID
	seen := map[uuid.UUID]bool{}
	for {
		for _, c := range changed {
			if h.streams[c.UserID] != nil && !seen[c.OrderID] {
				seen[c.OrderID] = true
				ids = append(ids, c.OrderID)
			}
		}
		select {
		case changed = <-h.heard:
		default:
			return ids
		}
	}
}

func (h *Hub) tell(ctx context.Context, ids []uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	for len(ids) > 0 {
		n := min(len(ids), chunk)
		orders, err := h.store.Orders(ctx, ids[:n]...)
		if err != nil {
			return err
		}
		h.deliver(orders)
		ids = ids[n:]
	}
	return nil
}

// reconcile tells what changed since the last reconciliation and was not told yet.
func (h *Hub) reconcile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	mark, err := h.store.Watermark(ctx)
	if err != nil {
		return err
	}
	if users := h.followedUsers(); len(users) > 0 && h.begun.Load() {
		var orders []order.Order
		for o, err := range h.store.ChangedSince(ctx, h.mark, 0, users...) {
			if err != nil {
				return err
			}
			if orders = append(orders, o); len(orders) == chunk {
				h.deliver(orders)
				orders = nil
			}
		}
		h.deliver(orders)
	}
	h.mark = mark
	h.begun.Store(true)
	maps.DeleteFunc(h.told, func(_ uuid.UUID, t telling) bool { return t.changedIn < mark })
	return nil
}

func (h *Hub) followedUsers() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.streams))
}

// deliver gives each user's streams what is new of orders: what lies below the mark was
// told by the reconciliation that set it, though it may only be heard of now.
func (h *Hub) deliver(orders []order.Order) {
	byUser := map[int64][]order.Order{}
	for _, o := range orders {
		if o.ChangedIn >= h.mark && h.told[o.ID].version < o.Version {
			h.told[o.ID] = telling{o.Version, o.ChangedIn}
			byUser[o.UserID] = append(byUser[o.UserID], o)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for user, orders := range byUser {
		for s := range h.streams[user] {
			h.send(s, Batch{h.mark, orders})
		}
	}
}

// beat gives every stream the watermark up to which it has been told everything.
func (h *Hub) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, streams := range h.streams {
		for s := range streams {
			h.send(s, Batch{Mark: h.mark})
		}
	}
}
