package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/orders/internal/postgres"
	"gozon/orders/migrations"
	"gozon/shared/test/databasetest"
)

// The service may do exactly this. A new table needs its grants in the same migration, and a
// line here.
func TestPrivilegesOfTheService(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	d.Migrate(t, postgres.Schema, migrations.FS)
	require.Equal(t, []string{
		"database: CONNECT",
		"function summarize: EXECUTE",
		"orders.audit: INSERT, SELECT, UPDATE",
		"orders.comparison: INSERT, SELECT, UPDATE",
		"orders.dead_letter_actions: INSERT, SELECT",
		"orders.dead_letters: INSERT, SELECT, UPDATE",
		"orders.differences: DELETE, INSERT, SELECT",
		"orders.goose_db_version: SELECT",
		"orders.idempotency_keys: DELETE, INSERT, SELECT, UPDATE (key)",
		"orders.inbox: DELETE, INSERT, SELECT, UPDATE (message_id)",
		"orders.orders: INSERT, SELECT, UPDATE (cancel_reason, cancel_requested_at, changed_in, charged_at, confirmed_at, " +
			"published_at, refunded_at, refused_at, status, updated_at, version)",
		"orders.outbox: DELETE, INSERT, SELECT, UPDATE (id)",
		"orders.watchdog: SELECT, UPDATE",
		"orders.watched: DELETE, INSERT, SELECT, UPDATE",
		"role: LOGIN",
		"schema orders: USAGE",
	}, d.Privileges(t, "orders"))
	require.Equal(t, []string{"database: CONNECT", "role: LOGIN", "schema payments: USAGE"}, d.Privileges(t, "payments"))
}
