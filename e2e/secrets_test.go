//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/e2e/load"
	"gozon/e2e/stack"
	"gozon/shared/test/servicetest"
)

// The passwords of the shop are neither in the description of a container nor in its log.
func TestNoContainerShowsASecret(t *testing.T) {
	t.Parallel()
	secrets, err := shop.Secrets()
	require.NoError(t, err)
	require.NotEmpty(t, secrets)
	ids, err := exec.CommandContext(t.Context(), "docker", "ps", "-aq", "--filter", "label=com.docker.compose.project="+shop.Project).Output()
	require.NoError(t, err)
	all := strings.Fields(string(ids))
	require.GreaterOrEqual(t, len(all), len(services))
	described, err := exec.CommandContext(t.Context(), "docker", append([]string{"inspect"}, all...)...).Output()
	require.NoError(t, err)
	require.Contains(t, string(described), "/run/secrets/")
	for name, password := range secrets {
		require.NotContains(t, string(described), password, name)
	}
	for _, id := range all {
		log, err := exec.CommandContext(t.Context(), "docker", "logs", id).CombinedOutput()
		require.NoError(t, err)
		for name, password := range secrets {
			require.NotContains(t, string(log), password, name)
		}
	}
}

// All passwords are rotated under load, with the documented command. Then every part has to
// connect again, with the new passwords.
func TestPasswordsAreRotatedUnderLoad(t *testing.T) { //nolint:paralleltest // starting two shops at the same time is slow
	const users, workers = 20, 8
	var log bytes.Buffer
	own, err := stack.Up(t.Context(), stack.Options{Project: "gozon-e2e-rotate", Env: []string{folder(t, "first-")}, Log: &log})
	require.NoError(t, err, &log)
	t.Cleanup(func() { _ = own.Down(context.Background()) })
	before, err := own.Secrets()
	require.NoError(t, err)

	client := load.NewClient(own.API, workers)
	require.NoError(t, client.OpenAccounts(t.Context(), users, 100))
	loading, stop := context.WithCancel(t.Context())
	defer stop()
	var placed load.Orders
	var failures load.Failures
	var running errgroup.Group
	running.Go(func() error {
		client.PlaceSteadily(loading, workers, users, 10*time.Millisecond, &placed, &failures)
		return nil
	})
	some := func() {
		t.Helper()
		n := len(placed.Accepted())
		servicetest.Eventually(t, func() bool { return len(placed.Accepted()) > n+50 }, "no orders are accepted")
	}
	some()
	require.NoError(t, own.Shell(t.Context(), "make rotate"), &log)
	after, err := own.Secrets()
	require.NoError(t, err)
	require.Len(t, after, len(before))
	for name := range after {
		require.NotEqual(t, before[name], after[name], name)
		require.Regexp(t, "^[0-9a-f]{48}$", after[name], name)
	}
	some()
	stop()
	require.NoError(t, running.Wait())
	for _, failure := range failures.All() {
		require.Contains(t, failure, ": 503 ", "a request failed with something else than that nothing was done")
	}

	db := container(t, own, "postgres")
	for _, role := range []string{"orders", "orders_owner", "payments", "payments_owner"} {
		require.NoError(t, login(t, db, role, after[role+"_db_password"]), role)
		require.Error(t, login(t, db, role, before[role+"_db_password"]), role)
	}
	_, err = own.SQL(t.Context(), "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename IN ('orders', 'payments')")
	require.NoError(t, err)
	broker := container(t, own, "rabbitmq")
	require.NoError(t, exec.CommandContext(t.Context(), "docker", "exec", broker, "rabbitmqctl", "-q", "close_all_connections", "rotated").Run())
	require.NoError(t, own.Wait(t.Context()))
	_, err = own.Settle(t.Context(), time.Minute)
	require.NoError(t, err)
	requireExact(t, own, &placed)
	require.Equal(t, "PAID", settled(t, own.API, place(t, own.API, 1, "1").ID).Status)
}
