package postgres_test

import (
	"database/sql"
	"os"
	"testing"

	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/delivery/database"
	"gozon/shared/test/containertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/deliverytest"
)

func TestMain(m *testing.M) { os.Exit(containertest.Main(m)) }

func open(t testing.TB) (*sql.DB, *database.DB) {
	t.Helper()
	return databasetest.New(t).Open(t, postgres.Schema, migrations.FS)
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	deliverytest.Run(t, postgres.Schema, open)
}
