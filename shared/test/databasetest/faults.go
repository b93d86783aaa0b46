package databasetest

import (
	"context"
	"database/sql"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Admin returns a pool that connects as the administrator.
func (d *Database) Admin(t testing.TB) *sql.DB {
	t.Helper()
	return d.As(t, admin)
}

// As returns a pool that connects as role.
func (d *Database) As(t testing.TB, role string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", d.URL(role))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// Do executes a statement as the administrator.
func (d *Database) Do(t testing.TB, statement string, args ...any) {
	t.Helper()
	_, err := d.Admin(t).ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
}

// Hold executes a statement in a transaction of the administrator and keeps the transaction
// open, with its locks, until release is called or the test ends.
func (d *Database) Hold(t testing.TB, statement string, args ...any) (release func()) {
	t.Helper()
	tx, err := d.Admin(t).BeginTx(context.WithoutCancel(t.Context()), nil) // t.Context is cancelled before cleanups run, which would roll back tx too early
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
	release = sync.OnceFunc(func() { assert.NoError(t, tx.Rollback()) })
	t.Cleanup(release)
	return release
}

// TurnReadOnly makes new sessions read-only and terminates the existing ones, to simulate a
// failover to a standby.
func (d *Database) TurnReadOnly(t testing.TB) {
	t.Helper()
	d.Do(t, "ALTER DATABASE "+d.name+" SET default_transaction_read_only = on")
	d.Do(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", d.name)
}

// TurnWritable makes new sessions writable. Existing sessions stay read-only.
func (d *Database) TurnWritable(t testing.TB) {
	t.Helper()
	d.Do(t, "BEGIN READ WRITE; ALTER DATABASE "+d.name+" RESET default_transaction_read_only; COMMIT")
}

// ChangeTables adds a column to each table of a schema and drops it, like the migrations of
// a rolling update. It calls load during and after each change.
func (d *Database) ChangeTables(t testing.TB, schema string, load func()) {
	t.Helper()
	db := d.Admin(t)
	rows, err := db.QueryContext(t.Context(), "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = $1", schema)
	require.NoError(t, err)
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var table string
		require.NoError(t, rows.Scan(&table))
		tables = append(tables, table)
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, tables)
	for _, table := range tables {
		for _, change := range []string{"ADD COLUMN another text DEFAULT 'x'", "DROP COLUMN another"} {
			changed := make(chan error, 1)
			go func() {
				_, err := db.ExecContext(t.Context(), "ALTER TABLE "+table+" "+change)
				changed <- err
			}()
			load()
			require.NoError(t, <-changed)
			load()
		}
	}
}
