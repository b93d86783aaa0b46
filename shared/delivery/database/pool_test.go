package database_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/database"
	"gozon/shared/test/databasetest"
)

func TestPoolMetrics(t *testing.T) {
	t.Parallel()
	db, err := database.Open(database.Config{URL: databasetest.New(t).URL(schema), MaxConns: 7})
	require.NoError(t, err)
	defer db.Close()
	reg := prometheus.NewRegistry()
	db.RegisterMetrics(reg, "orders")
	conn, err := db.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP go_sql_max_open_connections Maximum number of open connections to the database.
# TYPE go_sql_max_open_connections gauge
go_sql_max_open_connections{db_name="orders"} 7
# HELP go_sql_open_connections The number of established connections both in use and idle.
# TYPE go_sql_open_connections gauge
go_sql_open_connections{db_name="orders"} 1
# HELP go_sql_in_use_connections The number of connections currently in use.
# TYPE go_sql_in_use_connections gauge
go_sql_in_use_connections{db_name="orders"} 1
# HELP go_sql_idle_connections The number of idle connections.
# TYPE go_sql_idle_connections gauge
go_sql_idle_connections{db_name="orders"} 0
`), "go_sql_max_open_connections", "go_sql_open_connections", "go_sql_in_use_connections", "go_sql_idle_connections"))
	n, err := testutil.GatherAndCount(reg)
	require.NoError(t, err)
	require.Equal(t, 8, n)
}

// A statement whose plan was cached while its table was empty still uses the index when the
// table has grown. Statistics of the table are collected only later.
func TestPlansOfEmptyTablesUseTheIndex(t *testing.T) {
	t.Parallel()
	_, db := databasetest.New(t).Open(t, schema, files(map[string]string{"00001_parts.sql": createParts}))
	conn, err := db.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	update := database.NewTable[part]().Update()
	_, err = conn.Exec(t.Context(), "SET plan_cache_mode = force_generic_plan")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "PREPARE change AS "+update.SQL)
	require.NoError(t, err)
	require.Contains(t, explain(t, conn, "EXECUTE change (NULL, NULL, NULL, NULL, NULL, NULL, NULL)"), "Index Scan using parts_pkey")
}

// A statement that must read a whole table, like the metrics of the outbox, is not compiled,
// which would take a hundred times as long as to execute it.
func TestScansAreNotCompiled(t *testing.T) {
	t.Parallel()
	_, db := databasetest.New(t).Open(t, schema, files(map[string]string{"00001_parts.sql": createParts}))
	conn, err := db.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	plan := explain(t, conn, "SELECT sum(weight) FROM orders.parts")
	require.Contains(t, plan, "Seq Scan")
	require.NotContains(t, plan, "JIT")
}

func explain(t *testing.T, conn *pgxpool.Conn, statement string) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "EXPLAIN "+statement)
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return strings.Join(plan, "\n")
}

// A caller that never returns its connection does not keep the process from ending.
func TestCloseDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	db, err := database.Open(database.Config{URL: databasetest.New(t).URL(schema), MaxConns: 4})
	require.NoError(t, err)
	conn, err := db.Acquire(t.Context())
	require.NoError(t, err)
	require.ErrorContains(t, db.Close(), "1 connections are still in use")
	conn.Release()
	require.NoError(t, db.Close())
}
