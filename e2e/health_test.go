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

// health returns the health status of a service and the start times of its last five checks,
// oldest first.
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

// A health check costs more than everything else that an idle shop does, so a healthy
// service is checked only a few times per minute.
func TestHealthyServicesAreCheckedInfrequently(t *testing.T) {
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

// A service that others wait for is checked often until it is healthy. A service that hangs
// becomes unhealthy.
func TestHungServiceIsUnhealthyUntilItResumes(t *testing.T) { //nolint:paralleltest // it stops a service that the other tests use
	signal := func(name string) {
		t.Helper()
		const workers = `cd /proc; for pid in [0-9]*; do [ $pid = 1 ] || ! read -r name < $pid/comm || [ "$name" != nginx ] || kill -$0 $pid; done`
		out, err := exec.CommandContext(t.Context(), "docker", "exec", container(t, shop, "frontend"), "bash", "-c", workers, name).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	becomes := func(want string) {
		t.Helper()
		servicetest.Eventually(t, func() bool {
			status, _ := health(t, shop, "frontend")
			return status == want
		})
	}
	becomes("healthy")
	signal("STOP")
	becomes("unhealthy")
	signal("CONT")
	becomes("healthy")
}
