package postgres_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/test/databasetest"
)

// before returns the migrations up to that of the given name.
func before(t *testing.T, name string) fs.FS {
	t.Helper()
	files, earlier := migrations.FS, fstest.MapFS{}
	names, err := fs.Glob(files, "*.sql")
	require.NoError(t, err)
	require.Contains(t, names, name)
	for _, n := range names {
		if n < name {
			text, err := files.ReadFile(n)
			require.NoError(t, err)
			earlier[n] = &fstest.MapFile{Data: text}
		}
	}
	return earlier
}

// The deposits of existing accounts are counted, however many there are.
func TestEarlierDepositsAreCounted(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	pool, _ := d.Open(t, postgres.Schema, before(t, "00006_deposited.sql"))
	for _, statement := range []string{
		`INSERT INTO payments.accounts (user_id, balance, seq, created_at) SELECT u, u + 5, 3, now() FROM generate_series(1, 2500) AS u`,
		`INSERT INTO payments.entries (user_id, seq, kind, debit, credit, amount, balance_after, created_at) SELECT u, 1, 'top_up', 'external', 'user', u, u, now() FROM generate_series(1, 2500) AS u`,
		`INSERT INTO payments.entries (user_id, seq, kind, debit, credit, amount, balance_after, created_at) SELECT u, 2, 'top_up', 'external', 'user', 6, u + 6, now() FROM generate_series(1, 2500) AS u`,
		`INSERT INTO payments.entries (user_id, seq, kind, debit, credit, amount, balance_after, order_id, created_at) SELECT u, 3, 'charge', 'user', 'shop', 1, u + 5, gen_random_uuid(), now() FROM generate_series(1, 2500) AS u`,
		`INSERT INTO payments.accounts (user_id, balance, seq, created_at) VALUES (3001, 0, 0, now()), (3002, 0, 4, now())`,
		`INSERT INTO payments.entries (user_id, seq, kind, debit, credit, amount, balance_after, created_at)
			SELECT 3002, s, 'top_up', 'external', 'user', 9223372036854775807, 0, now() FROM generate_series(1, 4) AS s`,
	} {
		_, err := pool.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	_, _ = d.Open(t, postgres.Schema, migrations.FS)
	var wrong, accounts int
	require.NoError(t, pool.QueryRowContext(t.Context(), `SELECT count(*) FILTER (WHERE deposited <> CASE user_id
			WHEN 3001 THEN 0 WHEN 3002 THEN 9223372036854775807 ELSE user_id + 6 END), count(*) FROM payments.accounts`).Scan(&wrong, &accounts))
	require.Zero(t, wrong)
	require.Equal(t, 2502, accounts)
}
