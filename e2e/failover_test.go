//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/e2e/load"
	"gozon/e2e/stack"
	"gozon/shared/test/servicetest"
)

// pair is a shop with two database servers.
type pair struct {
	*stack.Stack
	placed *load.Orders
}

// The primary of the database fails twice under load: it is killed, and later its successor
// freezes, so that connections to it neither work nor break. Each time its synchronous standby
// is promoted. The services find the new primary by themselves. No accepted order is lost, every
// order gets its final status, the money is exact, and no event stream misses a change.
func TestFailoverOfTheDatabase(t *testing.T) { //nolint:paralleltest // starting two shops at the same time is slow
	const users, streams, workers = 50, 10, 8
	var log bytes.Buffer
	own, err := stack.Up(t.Context(), stack.Options{
		Project: "gozon-e2e-failover", Log: &log, Env: []string{"COMPOSE_FILE=docker-compose.yml:e2e/failover/compose.yml"},
	})
	require.NoError(t, err, &log)
	t.Cleanup(func() { _ = own.Down(context.Background()) })
	p := &pair{own, &load.Orders{}}
	p.synchronize(t)

	client := load.NewClient(own.API, workers)
	require.NoError(t, client.OpenAccounts(t.Context(), users, 60))
	following, stop := context.WithCancel(t.Context())
	defer stop()
	var failures load.Failures
	followed := client.FollowResuming(following, streams, &failures)
	var loading errgroup.Group
	var enough atomic.Bool
	loading.Go(func() error {
		for !enough.Load() {
			if err := client.PlaceThroughFaults(t.Context(), workers, users, 200, 20*time.Millisecond, p.placed); err != nil {
				return err
			}
		}
		return nil
	})

	p.accepts(t, 500)
	p.failOver(t, "standby", func(primary stack.Container) error { return own.Crash(t.Context(), primary) })
	p.accepts(t, 500)
	p.replaceStandby(t)
	p.accepts(t, 500)
	p.failOver(t, "postgres", func(primary stack.Container) error { return dockerRun(t.Context(), "pause", primary.ID) })

	p.accepts(t, 500)
	enough.Store(true)
	require.NoError(t, loading.Wait())
	_, err = own.Settle(t.Context(), time.Minute)
	require.NoError(t, err)
	requireDelivered(t, own, followed, streams)
	requireExact(t, own, p.placed)
	require.True(t, audit(t, own.API, "?full=true").OK)
	require.True(t, audit(t, own.API, "").OK)
	t.Logf("%d orders, %d cancelled, %d requests retried", len(p.placed.Accepted()), len(p.placed.Cancelled()), p.placed.Retries.Load())
}

// accepts waits until n more orders were accepted.
func (p *pair) accepts(t *testing.T, n int) {
	t.Helper()
	before := len(p.placed.Accepted())
	servicetest.Eventually(t, func() bool { return len(p.placed.Accepted()) >= before+n })
}

// synchronize makes the primary wait for its standby with each commit.
func (p *pair) synchronize(t *testing.T) {
	t.Helper()
	_, err := p.SQLInput(t.Context(), "ALTER SYSTEM SET synchronous_standby_names = '*';\nSELECT pg_reload_conf();\n")
	require.NoError(t, err)
	servicetest.Eventually(t, func() bool {
		state, err := p.SQL(t.Context(), "SELECT sync_state FROM pg_stat_replication")
		return err == nil && state == "sync"
	}, "the standby does not follow")
}

// failOver calls fail with the primary and promotes the standby, which has no standby itself.
func (p *pair) failOver(t *testing.T, standby string, fail func(primary stack.Container) error) {
	t.Helper()
	primary, err := p.Containers(t.Context(), p.Database)
	require.NoError(t, err)
	require.Len(t, primary, 1)
	start, retries := time.Now(), p.placed.Retries.Load()
	require.NoError(t, fail(primary[0]))
	_, err = p.SQLOn(t.Context(), standby, "SELECT pg_promote();\nALTER SYSTEM RESET synchronous_standby_names;\nSELECT pg_reload_conf();\n")
	require.NoError(t, err)
	promoted := time.Since(start)
	p.Database = standby
	p.accepts(t, 1)
	accepted := time.Since(start)
	all := p.placed.Accepted()
	servicetest.Eventually(t, func() bool {
		status, err := p.SQL(t.Context(), "SELECT status FROM orders.orders WHERE id = '"+all[len(all)-1]+"'")
		return err == nil && status != "NEW"
	})
	t.Logf("%s promoted after %.1f s, an order accepted after %.1f s and decided after %.1f s, %d requests retried", standby,
		promoted.Seconds(), accepted.Seconds(), time.Since(start).Seconds(), p.placed.Retries.Load()-retries)
}

// replaceStandby replaces the killed primary with a standby of its successor.
func (p *pair) replaceStandby(t *testing.T) {
	t.Helper()
	require.NoError(t, p.Compose(t.Context(), "rm", "--stop", "--force", "postgres"))
	require.NoError(t, dockerRun(t.Context(), "volume", "rm", p.Project+"_postgres-data"))
	p.Set("PRIMARY_OF_POSTGRES=" + p.Database)
	require.NoError(t, p.Compose(t.Context(), "up", "-d", "--no-deps", "--no-build", "postgres"))
	p.synchronize(t)
}

func dockerRun(ctx context.Context, args ...string) error {
	return exec.CommandContext(ctx, "docker", args...).Run()
}
