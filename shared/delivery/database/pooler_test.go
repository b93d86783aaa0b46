package database_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/delivery/database"
	"gozon/shared/test/databasetest"
)

// A service does not start with a pooler that would lose what its connections rely on. If the
// pooler itself reports an error, which may be temporary, the service logs it and retries.
func TestUnsuitablePoolersAreRefused(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	d.Migrate(t, schema, rowsOnly)
	pooler, direct := d.Pooler(t)(schema), d.URL(schema)
	for name, tc := range map[string]struct {
		cfg     database.Config
		want    string
		retried bool
	}{
		"no URL for sessions":    {database.Config{URL: pooler}, "DATABASE_URL leads to a connection pooler", false},
		"both URLs lead to it":   {database.Config{URL: pooler, SessionURL: pooler}, "DATABASE_SESSION_URL leads to a connection pooler", false},
		"no prepared statements": {database.Config{URL: d.Pooler(t, "max_prepared_statements = 0")(schema), SessionURL: direct}, "does not keep prepared statements", false},
		"statement mode":         {database.Config{URL: d.Pooler(t, "pool_mode = statement")(schema), SessionURL: direct}, "statement pooling mode", true},
		"unknown parameter":      {database.Config{URL: pooler + "&geqo=off", SessionURL: direct}, "unsupported startup parameter", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.cfg.MaxConns = 4
			timeout := 30 * time.Second
			if tc.retried {
				timeout = 3 * time.Second
			}
			log, err := await(t, tc.cfg, timeout, rowsOnly)
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, tc.retried, errors.Is(err, context.DeadlineExceeded), err)
			require.Equal(t, tc.retried, strings.Contains(log, tc.want), log)
		})
	}
	_, err := database.Connect(t.Context(), database.Config{URL: pooler})
	require.ErrorContains(t, err, "DATABASE_URL leads to a connection pooler")
}

// The sessions of the pooler are older than the defaults of the role. The service waits until
// they are replaced.
func TestOldSessionsOfThePoolerAreNotUsed(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	d.Migrate(t, schema, rowsOnly)
	cfg := database.Config{URL: d.Pooler(t, "server_lifetime = 3", "default_pool_size = 1")(schema), SessionURL: d.URL(schema), MaxConns: 4}
	db, err := database.Open(cfg)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.Ready(t.Context()))
	log, err := await(t, cfg, time.Minute, rowsOnly)
	require.NoError(t, err)
	require.Contains(t, log, "older than the defaults of the role")
}

// Sixteen connections share two sessions of the server. Each transaction keeps its parameters
// and its prepared statements, whichever session executes it, and what fails is rolled back.
func TestPoolBehindAPooler(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ setting, params string }{
		"prepared statements":    {"max_prepared_statements = 200", ""},
		"no prepared statements": {"max_prepared_statements = 0", "&default_query_exec_mode=cache_describe"},
		"parameters in the URL":  {"max_prepared_statements = 200", "&statement_timeout=7s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := databasetest.New(t)
			d.Migrate(t, schema, rowsOnly)
			cfg := database.Config{URL: d.Pooler(t, tc.setting)(schema) + tc.params, SessionURL: d.URL(schema), MaxConns: 16}
			_, err := await(t, cfg, time.Minute, rowsOnly)
			require.NoError(t, err)
			db, err := database.Open(cfg)
			require.NoError(t, err)
			defer db.Close()
			require.NoError(t, db.Ready(t.Context()))
			direct, err := database.Open(database.Config{URL: d.URL(schema) + tc.params, MaxConns: 4})
			require.NoError(t, err)
			defer direct.Close()
			want := parameters(t, direct)

			const workers, rounds = 16, 50
			var all errgroup.Group
			for w := range workers {
				all.Go(func() error {
					for i := range rounds {
						id := 1 + w*rounds + i
						err := db.InTx(t.Context(), func(tx *database.Tx) error {
							insert(tx, id, 1)
							var timeout string
							if err := tx.Read(t.Context(), database.Select("show", []any{&timeout}, func() {}, "SELECT current_setting('lock_timeout')")); err != nil {
								return err
							}
							if timeout != "100ms" {
								return errors.New("lock_timeout is " + timeout)
							}
							insert(tx, -id, 1-2*(i%2)) // every other one violates a constraint
							return nil
						})
						if i%2 == 1 && database.IsData(err) && !errors.Is(err, database.ErrCommit) {
							err = nil
						}
						if err != nil {
							return err
						}
					}
					return nil
				})
			}
			require.NoError(t, all.Wait())
			var n, sessions int
			require.NoError(t, d.Admin(t).QueryRowContext(t.Context(), "SELECT count(*) FROM orders.rows").Scan(&n))
			require.Equal(t, workers*rounds, n)
			require.NoError(t, d.Admin(t).QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
				WHERE datname = current_database() AND usename = $1`, schema).Scan(&sessions))
			require.LessOrEqual(t, sessions, 2+1, "two of the pooler, and one of the direct pool")
			for range 4 {
				require.Equal(t, want, parameters(t, db))
			}
		})
	}
}

// parameters returns the parameters of a session of the pool.
func parameters(t *testing.T, db *database.DB) (all []string) {
	t.Helper()
	require.NoError(t, db.QueryRow(t.Context(), `SELECT array_agg(name || '=' || current_setting(name) ORDER BY name) FROM pg_settings
		WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'enable_seqscan', 'jit', 'search_path')`).Scan(&all))
	return all
}
