package database_test

import (
	"context"
	"hash/fnv"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/database"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

// await runs [database.Await] with a timeout and returns the log.
func await(t *testing.T, cfg database.Config, timeout time.Duration, fsys fstest.MapFS) (string, error) {
	t.Helper()
	return logged(t, timeout, func(ctx context.Context, log *slog.Logger) error { return database.Await(ctx, cfg, schema, fsys, log) })
}

// A service waits until its schema has the newest migration and its role the privileges.
func TestAwaitWaitsForMigrationsAndPrivileges(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	var log servicetest.LogBuffer
	ready := make(chan error, 1)
	all := files(map[string]string{
		"00001_a.sql": "-- +goose Up\nSELECT 1;",
		"00002_b.sql": "-- +goose Up\nGRANT SELECT ON orders.goose_db_version TO orders;",
		"00003_c.sql": "-- +goose Up\nSELECT 3;",
	})
	go func() {
		ready <- database.Await(t.Context(), database.Config{URL: d.URL(schema), MaxConns: 4}, schema, all, slog.New(slog.NewTextHandler(&log, nil)))
	}()
	logs := func(want string) {
		t.Helper()
		servicetest.Eventually(t, func() bool { return strings.Contains(log.String(), want) }, "%s", log.String)
	}
	logs("42P01") // no table
	some := fstest.MapFS{}
	for _, step := range [][2]string{{"00001_a.sql", "42501"}, {"00002_b.sql", "it has version 2, version 3 is needed"}} {
		some[step[0]] = all[step[0]]
		d.Migrate(t, schema, some)
		logs(step[1])
	}
	require.Empty(t, ready)
	d.Migrate(t, schema, all)
	require.NoError(t, <-ready)
}

// Advisory locks have no privileges: the role of another service can take those of this one.
// The lock of the migrations delays only migrations, and that of the role's defaults only a
// service that sets them for the first time. Both log what they wait for.
func TestLocksOfAnotherRoleDelayOnlyWhatIsRetried(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	d.Migrate(t, schema, rowsOnly)
	other, err := database.Connect(t.Context(), database.Config{URL: d.URL("payments"), MaxConns: 4})
	require.NoError(t, err)
	defer other.Close(context.WithoutCancel(t.Context()))
	migrations := fnv.New32a()
	_, _ = migrations.Write([]byte("migrate " + schema))
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := other.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	exec("SELECT pg_advisory_lock($1)", int64(migrations.Sum32()))
	exec("SELECT pg_advisory_lock(hashtext('defaults of orders'))")

	log, err := await(t, database.Config{URL: d.URL(schema), MaxConns: 4}, time.Minute, rowsOnly)
	require.NoError(t, err)
	require.Empty(t, log)
	pending := files(map[string]string{"00001_rows.sql": createRows, "00002_b.sql": "-- +goose Up\nSELECT 2;"})
	log, err = migrate(t, d.URL(owner), 8*time.Second, pending)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Contains(t, log, "another process is migrating")
	pooled := database.Config{URL: d.Pooler(t)(schema), SessionURL: d.URL(schema), MaxConns: 4}
	log, err = await(t, pooled, 8*time.Second, rowsOnly)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Contains(t, log, "set the defaults of the role")

	exec("SELECT pg_advisory_unlock(hashtext('defaults of orders'))")
	_, err = await(t, pooled, time.Minute, rowsOnly)
	require.NoError(t, err)
	exec("SELECT pg_advisory_lock(hashtext('defaults of orders'))")
	_, err = await(t, pooled, time.Minute, rowsOnly)
	require.NoError(t, err, "the defaults are set: the lock is not needed")
	exec("SELECT pg_advisory_unlock_all()")
	_, err = migrate(t, d.URL(owner), time.Minute, pending)
	require.NoError(t, err)
}
