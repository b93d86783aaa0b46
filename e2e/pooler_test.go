//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/e2e/load"
	"gozon/e2e/stack"
	"gozon/shared/test/servicetest"
)

// The shop runs behind pgbouncer in transaction mode, where the pools of both replicas of a
// service share four sessions. Nothing fails, and no change is missed.
func TestShopBehindAPooler(t *testing.T) { //nolint:paralleltest // starting two shops at the same time is slow
	const users, streams, workers, duration = 50, 10, 16, 10 * time.Second
	var log bytes.Buffer
	own, err := stack.Up(t.Context(), stack.Options{
		Project: "gozon-e2e-pooler", Log: &log, Scale: map[string]int{"orders": 2, "payments": 2},
		Env: []string{"COMPOSE_FILE=docker-compose.yml:deploy/pooler.yml", "POOL_SIZE=4"},
	})
	require.NoError(t, err, &log)
	t.Cleanup(func() { _ = own.Down(context.Background()) })

	client := load.NewClient(own.API, workers)
	require.NoError(t, client.OpenAccounts(t.Context(), users, 20))
	following, stop := context.WithCancel(t.Context())
	defer stop()
	var placed load.Orders
	var failures load.Failures
	followed := client.FollowResuming(following, streams, &failures)
	loading, done := context.WithTimeout(t.Context(), duration)
	defer done()
	client.PlaceSteadily(loading, workers, users, 10*time.Millisecond, &placed, &failures)
	_, err = own.Settle(t.Context(), time.Minute)
	require.NoError(t, err)
	requireDelivered(t, own, followed, streams)
	require.Empty(t, failures.All())
	require.Zero(t, followed.Interrupted.Load())
	t.Logf("%d requests, %d orders, %d cancelled", failures.Requests.Load(), len(placed.Accepted()), len(placed.Cancelled()))
	requireExact(t, own, &placed)

	first := post(t, own.API+"/orders/", `{"user_id":1,"item":"Book","price":1}`)
	require.Equal(t, http.StatusCreated, first.status, first.body)
	require.True(t, audit(t, own.API, "?full=true").OK)
	before := audit(t, own.API, "").ComparedAt
	servicetest.Eventually(t, func() bool { return *audit(t, own.API, "").ComparedAt != *before }, "the comparison of orders with payments must go on")
	for role, limit := range map[string]int{"orders": 4 + 2, "payments": 4} { // each replica of orders listens on a session of its own
		n, err := own.SQL(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE usename = '"+role+"'")
		require.NoError(t, err)
		sessions, err := strconv.Atoi(n)
		require.NoError(t, err)
		require.LessOrEqual(t, sessions, limit, role)
	}
	servicetest.Eventually(t, func() bool {
		n, err := own.SQL(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
		return err == nil && n == "0"
	}, "an advisory lock was left behind in a session")
}

// requireDelivered waits until the event streams of the first users have received the newest
// version of each order.
func requireDelivered(t *testing.T, s *stack.Stack, followed *load.Resuming, streams int) {
	t.Helper()
	rows, err := s.SQL(t.Context(), fmt.Sprintf("SELECT id, version FROM orders.orders WHERE user_id <= %d", streams))
	require.NoError(t, err)
	require.NotEmpty(t, rows)
	var missed []string
	servicetest.Eventually(t, func() bool {
		missed, err = followed.Missed(rows)
		require.NoError(t, err)
		return len(missed) == 0
	}, "missed: %s", &missed)
}

// requireExact requires that an audit finds nothing, once the messages that are left, such as
// those that were repeated, have been handled.
func requireExact(t *testing.T, s *stack.Stack, placed *load.Orders) {
	t.Helper()
	var violations []string
	servicetest.Eventually(t, func() bool {
		var err error
		violations, err = s.Audit(t.Context(), placed.Accepted(), placed.Cancelled())
		require.NoError(t, err)
		return len(violations) == 0
	}, "%s", &violations)
}
