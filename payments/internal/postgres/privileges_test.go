package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
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
		"payments.accounts: INSERT, SELECT, UPDATE (balance, deposited, seq)",
		"payments.audit: INSERT, SELECT, UPDATE",
		"payments.audit_accounts: INSERT, SELECT, UPDATE",
		"payments.audit_differences: DELETE, INSERT, SELECT",
		"payments.dead_letter_actions: INSERT, SELECT",
		"payments.dead_letters: INSERT, SELECT, UPDATE",
		"payments.entries: INSERT, SELECT",
		"payments.goose_db_version: SELECT",
		"payments.idempotency_keys: DELETE, INSERT, SELECT, UPDATE (key)",
		"payments.inbox: DELETE, INSERT, SELECT, UPDATE (message_id)",
		"payments.outbox: DELETE, INSERT, SELECT, UPDATE (id)",
		"payments.payments: INSERT, SELECT, UPDATE (status, updated_at)",
		"role: LOGIN",
		"schema payments: USAGE",
	}, d.Privileges(t, "payments"))
	require.Equal(t, []string{"database: CONNECT", "role: LOGIN", "schema orders: USAGE"}, d.Privileges(t, "orders"))
}
