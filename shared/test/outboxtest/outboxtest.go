// Package outboxtest holds a service's outbox table, as its own migrations made it,
// to the contract of package outbox.
package outboxtest

import (
	"context"
	"database/sql"
	"errors"
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
	"gozon/shared/outbox"
	"gozon/shared/test/servicetest"
)

// Run runs the contract; open gives a migrated database of its own to each test.
func Run(t *testing.T, o outbox.Outbox, open func(testing.TB) *sql.DB) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *bench){
		"a committed event is published, as it was written":                 published,
		"a rolled back event is never published":                            rolledBack,
		"relay dies between publish and confirm: published again, same id":  diesBeforeConfirm,
		"relay dies between confirm and delete: published twice, same id":   diesBeforeDelete,
		"only what was confirmed is deleted":                                partlyConfirmed,
		"a slow broker: what was confirmed by the deadline is deleted":      slowBroker,
		"a panic of the relay is survived, and the row is published again":  panics,
		"two relays share the rows and publish each once":                   shared,
		"a row that commits late is published though younger ones are gone": lateCommit,
		"rows written by a process that died are found without being woken": foundByPoll,
		"the end of a relay publishes what is there":                        flushed,
		"the metrics tell depth and age":                                    measured,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &bench{outbox: o, db: open(t)})
		})
	}
}

type bench struct {
	outbox outbox.Outbox
	db     *sql.DB
}

func event() events.OrderCreated {
	return events.OrderCreated{OrderID: uuid.NewString(), UserID: 1, Amount: 100}
}

func (b *bench) append(t *testing.T, evs ...events.Event) {
	t.Helper()
	tx := b.begin(t)
	require.NoError(t, b.outbox.Append(t.Context(), tx, evs...))
	require.NoError(t, tx.Commit())
}

func (b *bench) begin(t *testing.T) *sql.Tx {
	t.Helper()
	tx, err := b.db.BeginTx(context.WithoutCancel(t.Context()), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() }) // for a test that fails half-way
	return tx
}

// relay runs a relay until the test or stop ends it.
func (b *bench) relay(t *testing.T, p outbox.Publisher) (r *outbox.Relay, stop func()) {
	t.Helper()
	r = outbox.NewRelay(b.outbox, b.db, p, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	end := sync.OnceValue(func() error { cancel(); return <-done })
	stop = func() {
		t.Helper()
		require.NoError(t, end())
	}
	t.Cleanup(stop)
	return r, stop
}

func (b *bench) depth(t *testing.T) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	outbox.NewRelay(b.outbox, b.db, nil, slog.New(slog.DiscardHandler), reg)
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "outbox_rows" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	require.Fail(t, "no outbox_rows")
	return 0
}

func (b *bench) drained(t *testing.T) {
	t.Helper()
	servicetest.Eventually(t, func() bool { return b.depth(t) == 0 })
}

var errDown = errors.New("broker down")

// recorder is a broker that answers as verdict says, which sees how often each
// message came before.
type recorder struct {
	verdict func(e events.Envelope, before int) error

	mu   sync.Mutex
	seen []events.Envelope
}

func (r *recorder) Publish(_ context.Context, messages []events.Envelope) []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := make([]error, len(messages))
	for i, m := range messages {
		before := 0
		for _, s := range r.seen {
			if s.ID == m.ID {
				before++
			}
		}
		r.seen = append(r.seen, m)
		if r.verdict != nil {
			errs[i] = r.verdict(m, before)
		}
	}
	return errs
}

func (r *recorder) subjects() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, m := range r.seen {
		all = append(all, m.Subject)
	}
	return all
}

func published(t *testing.T, b *bench) {
	e, p := event(), &recorder{}
	b.append(t, e)
	b.relay(t, p)
	b.drained(t)
	require.Len(t, p.seen, 1)
	got := p.seen[0]
	id, err := uuid.Parse(got.ID)
	require.NoError(t, err)
	require.EqualValues(t, 7, id.Version())
	require.Equal(t, e.EventType(), got.Type)
	require.Equal(t, e.OrderID, got.Subject)
	require.Equal(t, "1.0", got.SpecVersion)
	require.NotEmpty(t, got.Source)
	require.WithinDuration(t, time.Now(), got.Time, time.Minute)
	var back events.OrderCreated
	require.NoError(t, got.Decode(&back))
	require.Equal(t, e, back)
}

func rolledBack(t *testing.T, b *bench) {
	never, e, p := event(), event(), &recorder{}
	tx := b.begin(t)
	require.NoError(t, b.outbox.Append(t.Context(), tx, never))
	require.NoError(t, tx.Rollback())
	b.append(t, e)
	b.relay(t, p)
	b.drained(t)
	require.Equal(t, []string{e.OrderID}, p.subjects())
}

func diesBeforeConfirm(t *testing.T, b *bench) {
	e := event()
	b.append(t, e)
	p := &recorder{verdict: func(_ events.Envelope, before int) error {
		if before == 0 {
			return errDown
		}
		return nil
	}}
	b.relay(t, p)
	b.drained(t)
	require.Equal(t, []string{e.OrderID, e.OrderID}, p.subjects())
	require.Equal(t, p.seen[0].ID, p.seen[1].ID)
}

// killer confirms everything, but ends the relay's database session first, so that
// the delete and the commit after the confirm fail: the same as a relay that dies there.
type killer struct {
	recorder
	db   *sql.DB
	once sync.Once
	err  error
}

func (k *killer) Publish(ctx context.Context, messages []events.Envelope) []error {
	errs := k.recorder.Publish(ctx, messages)
	k.once.Do(func() {
		_, k.err = k.db.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND usename = current_user AND state = 'idle in transaction'`)
	})
	return errs
}

func diesBeforeDelete(t *testing.T, b *bench) {
	e := event()
	b.append(t, e)
	p := &killer{db: b.db}
	b.relay(t, p)
	b.drained(t)
	require.NoError(t, p.err)
	require.Equal(t, []string{e.OrderID, e.OrderID}, p.subjects())
	require.Equal(t, p.seen[0].ID, p.seen[1].ID)
}

func partlyConfirmed(t *testing.T, b *bench) {
	bad, good := event(), event()
	b.append(t, bad, good)
	p := &recorder{verdict: func(e events.Envelope, before int) error {
		if e.Subject == bad.OrderID && before < 3 {
			return errDown
		}
		return nil
	}}
	b.relay(t, p)
	b.drained(t)
	require.Equal(t, []string{bad.OrderID, good.OrderID, bad.OrderID, bad.OrderID, bad.OrderID}, p.subjects())
}

func shared(t *testing.T, b *bench) {
	const n = 3000
	evs := make([]events.Event, n)
	for i := range evs {
		evs[i] = event()
	}
	b.append(t, evs...)
	p := &recorder{}
	b.relay(t, p)
	b.relay(t, p)
	b.drained(t)
	got := p.subjects()
	slices.Sort(got)
	require.Len(t, slices.Compact(got), n)
	require.Len(t, p.subjects(), n, "published more than once")
}

func lateCommit(t *testing.T, b *bench) {
	late, early, p := event(), event(), &recorder{}
	tx := b.begin(t)
	require.NoError(t, b.outbox.Append(t.Context(), tx, late))
	b.append(t, early)
	r, _ := b.relay(t, p)
	servicetest.Eventually(t, func() bool { return len(p.subjects()) == 1 })
	require.NoError(t, tx.Commit())
	r.Wake()
	b.drained(t)
	require.Equal(t, []string{early.OrderID, late.OrderID}, p.subjects())
}

func foundByPoll(t *testing.T, b *bench) {
	p := &recorder{}
	b.relay(t, p)
	e := event()
	b.append(t, e) // and nobody calls Wake
	b.drained(t)
	require.Equal(t, []string{e.OrderID}, p.subjects())
}

func flushed(t *testing.T, b *bench) {
	p := &recorder{}
	_, stop := b.relay(t, p)
	e := event()
	b.append(t, e)
	stop()
	require.Equal(t, []string{e.OrderID}, p.subjects())
	require.Zero(t, b.depth(t))
}

func measured(t *testing.T, b *bench) {
	b.append(t, event(), event())
	require.InDelta(t, 2, b.depth(t), 0)
	reg := prometheus.NewRegistry()
	outbox.NewRelay(b.outbox, b.db, nil, slog.New(slog.DiscardHandler), reg)
	n, err := testutil.GatherAndCount(reg, "outbox_rows", "outbox_oldest_age_seconds")
	require.NoError(t, err)
	require.Equal(t, 2, n)
}
