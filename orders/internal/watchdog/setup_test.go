package watchdog_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gozon/orders/internal/order"
	"gozon/orders/internal/postgres"
	"gozon/orders/internal/watchdog"
	"gozon/orders/migrations"
	"gozon/shared/contract/events"
	"gozon/shared/delivery"
	"gozon/shared/delivery/database"
	"gozon/shared/test/containertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

func TestMain(m *testing.M) { os.Exit(containertest.Main(m)) }

// fixture is a database with orders, but without a relay: the test empties the outbox.
type fixture struct {
	database *databasetest.Database
	pool     *sql.DB
	store    *postgres.Store
	limit    time.Duration
	log      servicetest.LogBuffer
}

func setup(t *testing.T, limit time.Duration) *fixture {
	t.Helper()
	f := &fixture{database: databasetest.New(t), limit: limit}
	pool, db := f.database.Open(t, postgres.Schema, migrations.FS)
	f.pool, f.store = pool, postgres.NewStore(delivery.NewStore(delivery.Config{EventsPerMessage: 256}, db, postgres.Schema))
	return f
}

// watchdog returns a watchdog that belongs to a replica of its own.
func (f *fixture) watchdog() *watchdog.Watchdog {
	log := slog.New(slog.NewJSONHandler(&f.log, nil))
	return watchdog.New(order.NewService(f.store), f.store, database.Faults().Whole, f.limit, log, prometheus.NewRegistry())
}

// sweep makes one sweep, without waiting for the interval between sweeps.
func (f *fixture) sweep(t *testing.T, w *watchdog.Watchdog) {
	t.Helper()
	f.do(t, "UPDATE orders.watchdog SET swept_at = swept_at - interval '1 s'")
	require.NoError(t, watchdog.SweepOnce(w, t.Context()))
}

func (f *fixture) do(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := f.pool.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
}

func (f *fixture) value(t *testing.T, query string) string {
	t.Helper()
	var v string
	require.NoError(t, f.pool.QueryRowContext(t.Context(), query).Scan(&v))
	return v
}

const insertOrder = `INSERT INTO orders.orders (id, user_id, item, price, status, version, created_at, updated_at, cancel_requested_at)
	VALUES ($1, 1, 'x', 100, $2, 1, $3::timestamptz, $3::timestamptz, CASE WHEN $2 = 'CANCELLING' THEN $3::timestamptz END)`

// place inserts an order that was placed at a time, without an event: its message is lost.
func (f *fixture) place(t *testing.T, status string, at time.Time) uuid.UUID {
	t.Helper()
	id := idAt(at)
	f.do(t, insertOrder, id, status, at)
	return id
}

// idAt returns a UUIDv7 of a time.
func idAt(at time.Time) uuid.UUID {
	id, first := uuid.New(), delivery.FirstIDAt(at)
	copy(id[:7], first[:7])
	return id
}

// take empties the outbox, like a relay, and returns how often each order's events were there.
func (f *fixture) take(ctx context.Context) (map[string]int, error) {
	repeated := map[string]int{}
	rows, err := f.pool.QueryContext(ctx, "DELETE FROM orders.outbox RETURNING subject, data")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var subject string
		var data []byte
		if err := rows.Scan(&subject, &data); err != nil {
			return nil, err
		}
		if !events.IsBatch(data) {
			repeated[subject]++
			continue
		}
		var batch []events.Envelope
		if err := json.Unmarshal(data, &batch); err != nil {
			return nil, err
		}
		for _, e := range batch {
			repeated[e.Subject]++
		}
	}
	return repeated, rows.Err()
}

func (f *fixture) taken(t *testing.T) map[string]int {
	t.Helper()
	repeated, err := f.take(t.Context())
	require.NoError(t, err)
	return repeated
}

// elapse moves the times of the watched orders into the past.
func (f *fixture) elapse(t *testing.T, seconds int) {
	t.Helper()
	f.do(t, "UPDATE orders.watched SET next_at = next_at - make_interval(secs => $1), repeat_at = repeat_at - make_interval(secs => $1)", seconds)
}

func (f *fixture) overdue(t *testing.T) int {
	t.Helper()
	n, oldest, err := f.store.Overdue(t.Context(), f.limit)
	require.NoError(t, err)
	require.Equal(t, n > 0, oldest >= f.limit)
	return int(n)
}

// logged returns the number of orders that the log lines count.
func (f *fixture) logged(t *testing.T) int {
	t.Helper()
	sum := 0
	for line := range strings.Lines(f.log.String()) {
		var entry struct {
			Msg    string
			Orders int
			IDs    []string
		}
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		if strings.Contains(entry.Msg, "overdue") {
			require.NotEmpty(t, entry.IDs)
			require.LessOrEqual(t, len(entry.IDs), 5)
			sum += entry.Orders
		}
	}
	return sum
}
