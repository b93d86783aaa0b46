package deliverytest

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery"
	"gozon/shared/test/servicetest"
)

var outboxTests = map[string]func(*testing.T, *fixture){
	"a committed event is published as it was written":                 eventPublished,
	"an event that was rolled back is not published":                   eventRolledBack,
	"relay dies between publish and confirm: published again, same id": relayDiesBeforeConfirm,
	"relay dies between confirm and delete: published twice, same id":  relayDiesBeforeDelete,
	"only confirmed events are deleted":                                partlyConfirmed,
	"a slow broker: events confirmed by the deadline are deleted":      slowBroker,
	"the relay recovers from a panic and publishes the event again":    relayPanics,
	"two relays publish each event once":                               twoRelays,
	"a late commit is published after younger events":                  lateCommit,
	"a commit wakes the relay":                                         commitWakesRelay,
	"events of a process that died are found without a wake-up":        foundByPoll,
	"a relay empties the outbox when it stops":                         relayFlushes,
	"the metrics report depth and age":                                 metricsReported,
}

func event() events.OrderCreated {
	return events.OrderCreated{OrderID: uuid.NewString(), UserID: 1, Amount: 100}
}

// someEvents returns n events and their subjects.
func someEvents(n int) ([]events.Event, []string) {
	evs, subjects := make([]events.Event, n), make([]string, n)
	for i := range evs {
		e := event()
		evs[i], subjects[i] = e, e.OrderID
	}
	return evs, subjects
}

// emit emits events in a separate transaction of store.
func emit(t *testing.T, store *delivery.Store, evs ...events.Event) {
	t.Helper()
	require.NoError(t, store.InTx(t.Context(), func(tx *delivery.Tx) error { return tx.Emit(t.Context(), evs...) }))
}

// emitEach emits events in a separate transaction of store, each as a message of its own.
func emitEach(t *testing.T, store *delivery.Store, evs ...events.Event) {
	t.Helper()
	require.NoError(t, store.InTx(t.Context(), func(tx *delivery.Tx) error {
		for _, e := range evs {
			if err := tx.Emit(t.Context(), e); err != nil {
				return err
			}
		}
		return nil
	}))
}

// otherProcess returns a store on the same tables, which does not wake the relays of f.
func (f *fixture) otherProcess() *delivery.Store { return f.newStore(256) }

// startRelay runs a relay until stop is called or the test ends.
func (f *fixture) startRelay(t *testing.T, p delivery.Publisher) (stop func()) {
	t.Helper()
	r := f.store.NewRelay(p, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	end := sync.OnceValue(func() error { cancel(); return <-done })
	stop = func() {
		t.Helper()
		require.NoError(t, end())
	}
	t.Cleanup(stop)
	return stop
}

// metrics returns a registry with the metrics of the outbox.
func (f *fixture) metrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	f.store.NewRelay(nil, slog.New(slog.DiscardHandler), reg)
	return reg
}

func (f *fixture) depth(t *testing.T) float64 {
	t.Helper()
	families, err := f.metrics().Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "outbox_rows" {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	require.Fail(t, "no outbox_rows")
	return 0
}

func (f *fixture) waitUntilEmpty(t *testing.T) {
	t.Helper()
	servicetest.Eventually(t, func() bool { return f.depth(t) == 0 })
}

func eventPublished(t *testing.T, f *fixture) {
	e, p := event(), &recorder{}
	emit(t, f.store, e)
	f.startRelay(t, p)
	f.waitUntilEmpty(t)
	require.Len(t, p.messages(), 1)
	require.Equal(t, events.ContentType, p.messages()[0].ContentType)
	got := p.events()[0]
	require.Equal(t, p.messages()[0].ID, got.ID)
	id, err := uuid.Parse(got.ID)
	require.NoError(t, err)
	require.EqualValues(t, 7, id.Version())
	require.Equal(t, e.EventType(), got.Type)
	require.Equal(t, e.OrderID, got.Subject)
	require.Equal(t, "1.0", got.SpecVersion)
	require.Equal(t, "gozon/"+f.schema, got.Source)
	require.WithinDuration(t, time.Now(), got.Time, time.Minute)
	var decoded events.OrderCreated
	require.NoError(t, got.Decode(&decoded))
	require.Equal(t, e, decoded)
}

func eventRolledBack(t *testing.T, f *fixture) {
	e, p := event(), &recorder{}
	f.rollBack(t, func(tx *delivery.Tx) { require.NoError(t, tx.Emit(t.Context(), event())) })
	emit(t, f.store, e)
	f.startRelay(t, p)
	f.waitUntilEmpty(t)
	require.Equal(t, []string{e.OrderID}, p.subjects())
}

func relayDiesBeforeConfirm(t *testing.T, f *fixture) {
	e := event()
	emit(t, f.store, e)
	p := &recorder{respond: func(_ events.Message, before int) error {
		if before == 0 {
			return errDown
		}
		return nil
	}}
	f.startRelay(t, p)
	f.waitUntilEmpty(t)
	require.Equal(t, []string{e.OrderID, e.OrderID}, p.subjects())
	require.Equal(t, p.messages()[0].ID, p.messages()[1].ID)
}

func relayDiesBeforeDelete(t *testing.T, f *fixture) {
	e := event()
	emit(t, f.store, e)
	p := &killer{pool: f.pool}
	f.startRelay(t, p)
	f.waitUntilEmpty(t)
	require.NoError(t, p.killed())
	require.Equal(t, []string{e.OrderID, e.OrderID}, p.subjects())
	require.Equal(t, p.messages()[0].ID, p.messages()[1].ID)
}

func partlyConfirmed(t *testing.T, f *fixture) {
	bad, good := event(), event()
	emitEach(t, f.store, bad, good)
	p := &recorder{respond: func(m events.Message, before int) error {
		if decoded(m)[0].Subject == bad.OrderID && before < 3 {
			return errDown
		}
		return nil
	}}
	f.startRelay(t, p)
	f.waitUntilEmpty(t)
	require.Equal(t, []string{bad.OrderID, good.OrderID, bad.OrderID, bad.OrderID, bad.OrderID}, p.subjects())
}

func slowBroker(t *testing.T, f *fixture) {
	const confirmed = 80
	evs, subjects := someEvents(100)
	emitEach(t, f.store, evs...)
	p := &slow{confirms: confirmed}
	f.startRelay(t, p)
	f.waitUntilEmpty(t)
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Len(t, p.batches, 2)
	require.Equal(t, subjects, p.batches[0])
	require.Equal(t, subjects[confirmed:], p.batches[1], "confirmed events were published again")
}

func relayPanics(t *testing.T, f *fixture) {
	p := &recorder{respond: func(_ events.Message, before int) error {
		if before == 0 {
			panic("first attempt")
		}
		return nil
	}}
	emit(t, f.store, event())
	f.startRelay(t, p)
	f.waitUntilEmpty(t)
	require.Len(t, p.messages(), 2)
}

func twoRelays(t *testing.T, f *fixture) {
	const n = 3000
	evs, _ := someEvents(n)
	emitEach(t, f.store, evs...)
	p := &recorder{}
	f.startRelay(t, p)
	f.startRelay(t, p)
	f.waitUntilEmpty(t)
	got := p.subjects()
	slices.Sort(got)
	require.Len(t, slices.Compact(got), n)
	require.Len(t, p.subjects(), n, "published more than once")
}

func lateCommit(t *testing.T, f *fixture) {
	late, early, p := event(), event(), &recorder{}
	require.NoError(t, f.store.InTx(t.Context(), func(tx *delivery.Tx) error {
		require.NoError(t, tx.Emit(t.Context(), late))
		require.NoError(t, tx.Read(t.Context())) // sends it before the early event
		emit(t, f.store, early)
		f.startRelay(t, p)
		servicetest.Eventually(t, func() bool { return len(p.subjects()) == 1 })
		return nil
	}))
	f.waitUntilEmpty(t)
	require.Equal(t, []string{early.OrderID, late.OrderID}, p.subjects())
}

// commitWakesRelay requires that some events are published sooner after the previous event
// than a relay that only polls, every second, can publish them. A slow machine may delay
// other events.
func commitWakesRelay(t *testing.T, f *fixture) {
	const (
		wanted = 5
		limit  = 20
		prompt = 500 * time.Millisecond
	)
	p := &recorder{}
	f.startRelay(t, p)
	found := 0
	for n := 1; found < wanted; n++ {
		require.LessOrEqual(t, n, limit, "only %d events were published before the next poll", found)
		emit(t, f.store, event())
		servicetest.Eventually(t, func() bool { return len(p.messages()) == n })
		if m := p.events(); n > 1 && m[n-1].PublishedAt.Sub(m[n-2].PublishedAt) < prompt {
			found++
		}
	}
}

func foundByPoll(t *testing.T, f *fixture) {
	p := &recorder{}
	f.startRelay(t, p)
	e := event()
	emit(t, f.otherProcess(), e)
	f.waitUntilEmpty(t)
	require.Equal(t, []string{e.OrderID}, p.subjects())
}

func relayFlushes(t *testing.T, f *fixture) {
	p := &recorder{}
	stop := f.startRelay(t, p)
	e := event()
	emit(t, f.otherProcess(), e)
	stop()
	require.Equal(t, []string{e.OrderID}, p.subjects())
	require.Zero(t, f.depth(t))
}

func metricsReported(t *testing.T, f *fixture) {
	emitEach(t, f.store, event(), event())
	require.InDelta(t, 2, f.depth(t), 0)
	n, err := testutil.GatherAndCount(f.metrics(), "outbox_rows", "outbox_oldest_age_seconds")
	require.NoError(t, err)
	require.Equal(t, 2, n)
}
