//go:build e2e

package e2e_test

import (
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/e2e/stack"
	"gozon/shared/test/servicetest"
)

// health is what the engine knows of a service's checks: the last five, oldest first.
func health(t *testing.T, s *stack.Stack, service string) (status string, checks []time.Time) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "inspect", "-f", "{{json .State.Health}}", container(t, s, service)).Output()
	require.NoError(t, err)
	var h struct {
		Status string
		Log    []struct{ Start time.Time }
	}
	require.NoError(t, json.Unmarshal(out, &h))
	for _, c := range h.Log {
		checks = append(checks, c.Start)
	}
	return h.Status, checks
}

// A check costs more than all else that an idle shop does, so one that is healthy is checked a few times a minute.
func TestHealthyServicesAreSeldomChecked(t *testing.T) {
	t.Parallel()
	for _, service := range services {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			servicetest.Eventually(t, func() bool {
				status, checks := health(t, shop, service)
				n := len(checks)
				return status == "healthy" && n > 1 && checks[n-1].Sub(checks[n-2]) > 15*time.Second
			})
		})
	}
}

// Whoever waits for a service waits no longer than it takes to start, and one that hangs is found out.
func TestHungServiceIsUnhealthyUntilItGoesOn(t *testing.T) { //nolint:paralleltest // it stops the shop that the others share
	signal := func(name string) {
		t.Helper()
		const workers = `cd /proc; for pid in [0-9]*; do [ $pid = 1 ] || ! read -r name < $pid/comm || [ "$name" != nginx ] || kill -$0 $pid; done`
		out, err := exec.CommandContext(t.Context(), "docker", "exec", container(t, shop, "frontend"), "bash", "-c", workers, name).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	becomes := func(wanted string) {
		t.Helper()
		servicetest.Eventually(t, func() bool {
			status, _ := health(t, shop, "frontend")
			return status == wanted
		})
	}
	becomes("healthy")
	signal("STOP")
	becomes("unhealthy")
	signal("CONT")
	becomes("healthy")
}
