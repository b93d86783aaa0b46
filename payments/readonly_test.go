package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

// requireReadOnly requires that writes fail with "nothing was done".
func (f *fixture) requireReadOnly(t *testing.T) {
	t.Helper()
	for range 12 { // more than connections in the pool
		got := f.Send(t, http.MethodPost, "/accounts/", `{"user_id":1,"balance":1}`)
		require.Equal(t, http.StatusServiceUnavailable, got.Status, got.Body)
		require.Contains(t, got.Body, "nothing was done")
	}
	servicetest.Eventually(t, func() bool {
		return f.Send(t, http.MethodGet, "/readyz", "").Status == http.StatusServiceUnavailable
	})
}

// requireRecovery waits until the service is ready and requires that writes succeed on every
// connection.
func (f *fixture) requireRecovery(t *testing.T) {
	t.Helper()
	f.Ready(t)
	for range 12 {
		f.topUp(t, 1, "1")
	}
	f.count(t, 1, succeededOf, 1)
	f.count(t, 0, "SELECT count(*) FROM payments.outbox")
	require.Equal(t, "1011", f.balance(t, 1))
	f.verify(t)
}

// Sessions that started on a read-only server stay read-only after it has become writable.
func TestReadOnlySessionsDoNotOutliveTheFailover(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "1000")
	f.database.TurnReadOnly(t)
	f.order(t, 1, 100)
	f.requireReadOnly(t)
	f.database.TurnWritable(t)
	f.requireRecovery(t)
}

// The server becomes read-only while sessions are open.
func TestServerTurnsReadOnlyUnderOpenSessions(t *testing.T) {
	t.Parallel()
	database, _ := databasetest.Own(t)
	f := &fixture{database: database, broker: brokertest.New(t)}
	f.pool, _ = database.Open(t, postgres.Schema, migrations.FS)
	f.Service = f.startReplica(t).Ready(t)
	f.topUp(t, 1, "1000")
	set := func(statement string) {
		database.Do(t, statement)
		database.Do(t, "SELECT pg_reload_conf()")
	}
	set("ALTER SYSTEM SET default_transaction_read_only = on")
	f.order(t, 1, 100)
	for { // each session reloads the configuration on its own
		if got := f.Send(t, http.MethodPost, "/accounts/", `{"user_id":2,"balance":1}`); !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") {
			break
		}
	}
	f.requireReadOnly(t)
	set("ALTER SYSTEM RESET default_transaction_read_only")
	f.requireRecovery(t)
}
