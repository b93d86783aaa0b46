package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/orders/internal/live"
	"gozon/orders/internal/postgres"
	"gozon/orders/migrations"
	"gozon/shared/delivery"
	"gozon/shared/delivery/database"
	"gozon/shared/test/databasetest"
)

// The first host accepts connections and never responds, like a server that is frozen. The
// listener connects to the second one.
func TestListenerSkipsAHostThatHangs(t *testing.T) {
	t.Parallel()
	frozen, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer frozen.Close()
	url := strings.Replace(databasetest.New(t).URL(postgres.Schema), "@", "@"+frozen.Addr().String()+",", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	connected := false
	listener := postgres.NewListener(database.Config{URL: url, MaxConns: 4}, slog.New(slog.DiscardHandler))
	listener.Run(ctx, func() { connected = true; cancel() }, func(error) {}, func([]live.Changed) {})
	require.True(t, connected)
}

// Several replicas share the two sessions of a pooler. One of them compares at a time, and the
// lock is never left behind in a session.
func TestComparisonsBehindAPoolerExcludeEachOther(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	cfg := database.Config{URL: d.Pooler(t)(postgres.Schema), SessionURL: d.URL(postgres.Schema), MaxConns: 10}
	d.Migrate(t, postgres.Schema, migrations.FS)
	require.NoError(t, database.Await(t.Context(), cfg, postgres.Schema, migrations.FS, slog.New(slog.DiscardHandler)))
	db, err := database.Open(cfg)
	require.NoError(t, err)
	defer db.Close()
	store := postgres.NewStore(delivery.NewStore(delivery.Config{EventsPerMessage: 1}, db, postgres.Schema))
	var running, total atomic.Int64
	compare := func() error {
		defer running.Add(-1)
		total.Add(1)
		if running.Add(1) > 1 {
			return errors.New("two comparisons at the same time")
		}
		_, err := store.CurrentSnapshot(t.Context())
		return err
	}
	var replicas errgroup.Group
	for range 8 {
		replicas.Go(func() error {
			for range 50 {
				if _, err := store.Exclusively(t.Context(), compare); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, replicas.Wait())
	require.Positive(t, total.Load())
	ran, err := store.Exclusively(t.Context(), compare)
	require.NoError(t, err)
	require.True(t, ran)
}
