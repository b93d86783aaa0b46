package live_test

import (
	"context"
	"database/sql"
	"iter"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gozon/orders/internal/live"
	"gozon/orders/internal/order"
	"gozon/orders/internal/postgres"
	"gozon/orders/migrations"
	"gozon/shared/delivery"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/test/containertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

func TestMain(m *testing.M) { os.Exit(containertest.Main(m)) }

// source is a live.Source that a test controls through its channels.
type source struct {
	listen  chan struct{}       // call listening
	receive chan []live.Changed // deliver the changes
	fail    chan struct{}       // panic
}

func (s source) Run(ctx context.Context, listening func(), _ func(error), deliver func([]live.Changed)) {
	for {
		select {
		case <-s.listen:
			listening()
		case c := <-s.receive:
			deliver(c)
		case <-s.fail:
			panic("the source panicked")
		case <-ctx.Done():
			return
		}
	}
}

// store is a postgres.Store that counts the orders returned by ChangedSince.
type store struct {
	*postgres.Store
	reads       atomic.Int64
	panicOnRead atomic.Bool // the next call of Revisions panics
}

func (s *store) ChangedSince(ctx context.Context, since live.Snapshot, limit int, users ...int64) iter.Seq2[live.Revision, error] {
	return func(yield func(live.Revision, error) bool) {
		for o, err := range s.Store.ChangedSince(ctx, since, limit, users...) {
			s.reads.Add(1)
			if !yield(o, err) {
				return
			}
		}
	}
}

func (s *store) Revisions(ctx context.Context, ids ...uuid.UUID) ([]live.Revision, error) {
	if s.panicOnRead.CompareAndSwap(true, false) {
		panic("the store panicked")
	}
	return s.Store.Revisions(ctx, ids...)
}

type fixture struct {
	source
	pool   *sql.DB
	store  *store
	reg    *prometheus.Registry
	log    *strings.Builder // read it only after the hub has stopped
	hub    *live.Hub
	orders *order.Service
}

// start returns a fixture with a new database and a hub of at most limit streams. The hub does
// not run yet.
func start(t *testing.T, limit int) *fixture {
	t.Helper()
	pool, db := databasetest.New(t).Open(t, postgres.Schema, migrations.FS)
	f := &fixture{
		pool: pool, store: &store{Store: postgres.NewStore(delivery.NewStore(delivery.Config{EventsPerMessage: 256}, db, postgres.Schema))}, reg: prometheus.NewRegistry(), log: &strings.Builder{},
		source: source{make(chan struct{}), make(chan []live.Changed), make(chan struct{})},
	}
	f.orders = order.NewService(f.store)
	f.hub = live.NewHub(f.orders, f.store, f.source, live.Limits{All: limit, PerUser: limit}, slog.New(slog.NewTextHandler(f.log, nil)), f.reg)
	return f
}

// run starts the hub, which runs until stop is called or the test ends.
func (f *fixture) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f.hub.Run(ctx) }()
	end := sync.OnceValue(func() error { cancel(); return <-done })
	stop = func() {
		t.Helper()
		require.NoError(t, end())
	}
	t.Cleanup(stop)
	f.listen <- struct{}{}
	f.waitUntilReady(t)
	return stop
}

func (f *fixture) waitUntilReady(t *testing.T) {
	t.Helper()
	servicetest.Eventually(t, func() bool { return f.hub.Ready(t.Context()) == nil })
}

// place places n orders of the user and returns their ids.
func (f *fixture) place(t *testing.T, user int64, n int) map[uuid.UUID]bool {
	t.Helper()
	placed, err := f.orders.Place(t.Context(), drafts(n, user))
	require.NoError(t, err)
	ids := map[uuid.UUID]bool{}
	for _, p := range placed {
		ids[p.Value.ID] = true
	}
	return ids
}

func drafts(n int, user int64) []idempotency.Request[order.Draft] {
	requests := make([]idempotency.Request[order.Draft], n)
	for i := range requests {
		requests[i].Body = order.Draft{UserID: user, Item: "x", Price: 1}
	}
	return requests
}

// follower keeps the batches of a stream, at most 16.
type follower struct {
	*live.Stream
	batches chan live.Batch // closed when the stream ends
}

func (f follower) Deliver(b *live.Batch) bool {
	select {
	case f.batches <- *b:
		return true
	default:
		return false
	}
}

func (f follower) Gone() bool { return false }

func (f follower) End() { close(f.batches) }

func newFollower() follower { return follower{batches: make(chan live.Batch, 16)} }

func (f *fixture) follow(t *testing.T, user int64) follower {
	t.Helper()
	s := newFollower()
	var err error
	s.Stream, _, err = f.hub.Follow(t.Context(), user, 0, 20, s)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// requireDelivered reads batches until all of ids are delivered. It fails if an id is delivered
// twice or is not one of ids.
func requireDelivered(t *testing.T, s follower, ids map[uuid.UUID]bool) (batches int, last live.Batch) {
	t.Helper()
	for len(ids) > 0 {
		select {
		case b, ok := <-s.batches:
			require.True(t, ok, "the stream ended")
			for _, o := range b.Orders {
				require.True(t, ids[o.ID], "delivered twice, or not expected")
				delete(ids, o.ID)
			}
			batches, last = batches+1, b
		case <-time.After(30 * time.Second):
			require.Fail(t, "orders were not delivered in time")
		}
	}
	return batches, last
}

func TestNoStreamBeforeTheFirstWatermark(t *testing.T) {
	t.Parallel()
	f := start(t, 10)
	_, _, err := f.hub.Follow(t.Context(), 1, 0, 20, newFollower())
	require.ErrorIs(t, err, live.ErrNotReady)
	require.Error(t, f.hub.Ready(t.Context()))
	f.run(t)
	f.follow(t, 1)
}

// Many more changes than a chunk are missed. One reconciliation delivers them in chunks, and
// the next one does not redeliver them.
func TestReconciliationDeliversMissedChangesOnce(t *testing.T) {
	t.Parallel()
	f := start(t, 10)
	f.run(t)
	s := f.follow(t, 1)
	ids := map[uuid.UUID]bool{}
	for range 10 {
		for id := range f.place(t, 1, 300) {
			ids[id] = true
		}
		f.place(t, 2, 300) // has no follower
	}
	f.listen <- struct{}{}
	batches, _ := requireDelivered(t, s, ids)
	require.Less(t, batches, 16)
	f.listen <- struct{}{}
	last := f.place(t, 1, 1)
	f.listen <- struct{}{}
	requireDelivered(t, s, last) // and nothing else
}

func TestReconciliationDoesNotRedeliverReceivedChanges(t *testing.T) {
	t.Parallel()
	f := start(t, 10)
	f.run(t)
	s := f.follow(t, 1)
	for range 3 {
		ids := f.place(t, 1, 1)
		for id := range ids {
			f.receive <- []live.Changed{{UserID: 1, OrderID: id}, {UserID: 2, OrderID: id}, {UserID: 1, OrderID: id}}
		}
		requireDelivered(t, s, ids)
		f.listen <- struct{}{}
	}
}

func TestSlowStreamIsClosed(t *testing.T) {
	t.Parallel()
	f := start(t, 10)
	f.run(t)
	slow, fast := f.follow(t, 1), f.follow(t, 1)
	for range 20 {
		ids := f.place(t, 1, 1)
		f.listen <- struct{}{}
		requireDelivered(t, fast, ids)
	}
	n := 0
	for range slow.batches { // until it is closed
		n++
	}
	require.Equal(t, 16, n, "batches sent before the stream was closed")
	slow.Close()
	f.follow(t, 1)
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	f := start(t, 1)
	f.run(t)
	s := f.follow(t, 1)
	_, _, err := f.hub.Follow(t.Context(), 1, 0, 20, newFollower())
	require.ErrorIs(t, err, live.ErrTooMany)
	s.Close()
	s.Close() // must not count twice
	f.follow(t, 1)
}
