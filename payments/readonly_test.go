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
)

// refuses requires that writes are answered with "nothing was done".
func (b *bench) refuses(t *testing.T) {
	t.Helper()
	for range 12 { // more than the pool has connections
		got := b.Send(t, http.MethodPost, "/accounts/", `{"user_id":1,"balance":1}`)
		require.Equal(t, http.StatusServiceUnavailable, got.Status, got.Body)
		require.Contains(t, got.Body, "nothing was done")
	}
	got := b.Send(t, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, got.Status, got.Body)
}

// recovers requires that the service works again, at once and on every connection.
func (b *bench) recovers(t *testing.T) {
	t.Helper()
	b.Ready(t)
	for range 12 {
		b.topUp(t, 1, "1")
	}
	b.count(t, 1, succeededOf, 1)
	b.count(t, 0, "SELECT count(*) FROM payments.outbox")
	require.Equal(t, "1011", b.balance(t, 1))
	b.sound(t)
}

// Sessions that began while the server was read-only stay so after it no longer is.
func TestReadOnlySessionsDoNotOutliveTheFailover(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.topUp(t, 1, "1000")
	b.database.TurnReadOnly(t)
	b.order(t, 1, 100)
	b.refuses(t)
	b.database.TurnWritable(t)
	b.recovers(t)
}

// A server that turns read-only under open sessions.
func TestServerTurnsReadOnlyUnderOpenSessions(t *testing.T) {
	t.Parallel()
	database, _ := databasetest.Own(t)
	b := &bench{database: database, broker: brokertest.New(t)}
	b.pool, _ = database.Open(t, postgres.Schema, migrations.FS)
	b.Service = b.another(t).Ready(t)
	b.topUp(t, 1, "1000")
	set := func(statement string) {
		database.Do(t, statement)
		database.Do(t, "SELECT pg_reload_conf()")
	}
	set("ALTER SYSTEM SET default_transaction_read_only = on")
	b.order(t, 1, 100)
	for { // every session reads its new configuration by itself
		if got := b.Send(t, http.MethodPost, "/accounts/", `{"user_id":2,"balance":1}`); !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") {
			break
		}
	}
	b.refuses(t)
	set("ALTER SYSTEM RESET default_transaction_read_only")
	b.recovers(t)
}
