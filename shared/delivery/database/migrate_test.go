package database_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/database"
	"gozon/shared/test/containertest"
	"gozon/shared/test/databasetest"
)

func TestMain(m *testing.M) { os.Exit(containertest.Main(m)) }

const (
	schema = "orders"
	owner  = "orders_owner"
)

func files(texts map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range texts {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// migrate runs [database.Migrate] with a timeout and returns the log.
func migrate(t *testing.T, url string, timeout time.Duration, fsys fstest.MapFS) (string, error) {
	t.Helper()
	return logged(t, timeout, func(ctx context.Context, log *slog.Logger) error {
		return database.Migrate(ctx, database.Config{URL: url, MaxConns: 4}, schema, fsys, log)
	})
}

// logged calls fn with a timeout and returns the log.
func logged(t *testing.T, timeout time.Duration, fn func(context.Context, *slog.Logger) error) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	var log bytes.Buffer
	err := fn(ctx, slog.New(slog.NewTextHandler(&log, nil)))
	return log.String(), err
}

func TestMigrateReturnsPermanentErrorsAtOnce(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	texts := map[string]string{"00001_a.sql": "-- +goose Up\nSELECT 1;", "00003_c.sql": "-- +goose Up\nSELECT 3;"}
	_, err := migrate(t, d.URL(owner), time.Minute, files(texts))
	require.NoError(t, err)
	texts["00002_b.sql"] = "-- +goose Up\nSELECT 2;"
	for name, tc := range map[string]struct {
		url   string
		files map[string]string
		want  string
	}{
		"missing migration":            {d.URL(owner), texts, "missing"},
		"invalid SQL":                  {d.URL(owner), map[string]string{"00004_d.sql": "-- +goose Up\nSELECT nothing;"}, "42703"},
		"file name without version":    {d.URL(owner), map[string]string{"x_y.sql": "-- +goose Up\nSELECT 1;"}, "x_y.sql"},
		"wrong password":               {strings.Replace(d.URL(owner), ":orders_owner@", ":wrong@", 1), nil, "28P01"},
		"database that does not exist": {d.URL(owner) + "&database=nothing", map[string]string{"00001_a.sql": ""}, "3D000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.files == nil {
				tc.files = texts
			}
			log, err := migrate(t, tc.url, 30*time.Second, files(tc.files))
			require.ErrorContains(t, err, tc.want)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			require.Empty(t, log)
		})
	}
}

func TestMigrateLogsRetries(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"connection refused": "postgres://orders:orders@127.0.0.1:1/gozon",
		"unknown host":       "postgres://orders:orders@nowhere.invalid:5432/gozon",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, err := migrate(t, url, 4*time.Second, files(map[string]string{"00001_a.sql": "-- +goose Up\nSELECT 1;"}))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.GreaterOrEqual(t, strings.Count(log, "migrate: cannot run yet, retrying"), 2, log)
			require.NotContains(t, log, "orders:orders", "the log must not contain the password")
		})
	}
}

// Each migration runs with the timeouts of its kind.
func TestMigrationTimeouts(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	const query = "CREATE TABLE orders.%s AS SELECT current_setting('lock_timeout') AS locks, current_setting('statement_timeout') AS statements;"
	text := func(header, table string) string { return header + strings.Replace(query, "%s", table, 1) }
	_, err := migrate(t, d.URL(owner), time.Minute, files(map[string]string{
		"00001_a.sql": text("-- +goose Up\n", "first"),
		"00002_b.sql": text("-- +goose NO TRANSACTION\n-- +goose Up\n", "no_transaction"),
		"00003_c.sql": text("-- +goose Up\n", "last"),
	}))
	require.NoError(t, err)
	for table, want := range map[string][]string{"first": {"3s", "0"}, "no_transaction": {"0", "0"}, "last": {"3s", "0"}} {
		var locks, statements string
		require.NoError(t, d.Admin(t).QueryRowContext(t.Context(), "SELECT locks, statements FROM orders."+table).Scan(&locks, &statements))
		require.Equal(t, want, []string{locks, statements}, table)
	}
}

// CREATE INDEX CONCURRENTLY waits for a long transaction, such as pg_dump, without retries.
func TestConcurrentIndexWaitsForALongTransaction(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	table := map[string]string{"00001_a.sql": "-- +goose Up\nCREATE TABLE orders.t (a int);"}
	_, err := migrate(t, d.URL(owner), time.Minute, files(table))
	require.NoError(t, err)
	release := d.Hold(t, "LOCK TABLE orders.t IN ROW EXCLUSIVE MODE")
	table["00002_b.sql"] = "-- +goose NO TRANSACTION\n-- +goose Up\nCREATE INDEX CONCURRENTLY t_a ON orders.t (a);"
	done := make(chan error, 1)
	var log string
	go func() {
		var err error
		log, err = migrate(t, d.URL(owner), 2*time.Minute, files(table))
		done <- err
	}()
	admin := d.Admin(t)
	for waits := false; !waits; { // longer than the lock timeout of a transactional migration
		require.NoError(t, admin.QueryRowContext(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE query LIKE '%CREATE INDEX%' AND wait_event_type = 'Lock' AND datname = current_database()
			AND now() - query_start > interval '4 seconds' AND pid <> pg_backend_pid())`).Scan(&waits))
	}
	release()
	require.NoError(t, <-done)
	require.NotContains(t, log, "retrying")
}

// A transactional migration leaves the lock queue, which blocks all traffic, and retries.
func TestTransactionalMigrationRetriesWhenLocked(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	table := map[string]string{"00001_a.sql": "-- +goose Up\nCREATE TABLE orders.t (a int);"}
	_, err := migrate(t, d.URL(owner), time.Minute, files(table))
	require.NoError(t, err)
	release := d.Hold(t, "LOCK TABLE orders.t IN ACCESS SHARE MODE")
	table["00002_b.sql"] = "-- +goose Up\nALTER TABLE orders.t ADD COLUMN b int;"
	log, err := migrate(t, d.URL(owner), 6*time.Second, files(table))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Contains(t, log, "55P03")
	release()
	_, err = migrate(t, d.URL(owner), time.Minute, files(table))
	require.NoError(t, err)
}

func TestSecondHostIsUsedWhenTheFirstIsDown(t *testing.T) {
	t.Parallel()
	url := strings.Replace(databasetest.New(t).URL(schema), "@", "@127.0.0.1:1,", 1)
	require.NoError(t, database.Config{URL: url, MaxConns: 4}.Validate())
	db, err := database.Open(database.Config{URL: url, MaxConns: 4})
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.Ready(t.Context()))
}
