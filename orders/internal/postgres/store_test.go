package postgres_test

import (
	"database/sql"
	"os"
	"testing"

	"gozon/orders/internal/postgres"
	"gozon/orders/migrations"
	"gozon/shared/test/containertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/inboxtest"
	"gozon/shared/test/keystoretest"
	"gozon/shared/test/outboxtest"
)

func TestMain(m *testing.M) { os.Exit(containertest.Main(m)) }

func open(t testing.TB) *sql.DB {
	t.Helper()
	pool, _ := databasetest.New(t).Open(t, postgres.Schema, migrations.FS)
	return pool
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	outboxtest.Run(t, postgres.Outbox, open)
}

func TestInbox(t *testing.T) {
	t.Parallel()
	inboxtest.Run(t, postgres.Inbox, open)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	keystoretest.Run(t, postgres.Keys, open)
}
