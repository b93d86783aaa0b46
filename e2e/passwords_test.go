//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/e2e/stack"
	"gozon/shared/test/servicetest"
)

// folder creates a folder with passwords that begin with a prefix, and returns the variable of
// the compose file that names it.
func folder(t *testing.T, prefix string) string {
	t.Helper()
	dir := t.TempDir()
	secrets, err := shop.Secrets()
	require.NoError(t, err)
	for name := range secrets {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(prefix+name+"\n"), 0o644))
	}
	return "SECRETS_DIR=" + dir
}

// The passwords of the current start apply, even if the volumes were created with other passwords. The data is kept.
func TestPasswordsMayChangeBetweenStarts(t *testing.T) { //nolint:paralleltest // starting two shops at the same time is slow
	const ones, others = "0nes", `0ther'"&\`
	folders := map[string]string{ones: folder(t, ones), others: folder(t, others)}
	var log bytes.Buffer
	own, err := stack.Up(t.Context(), stack.Options{Project: "gozon-e2e-passwords", Env: []string{folders[ones]}, Log: &log})
	require.NoError(t, err, &log)
	t.Cleanup(func() { _ = own.Down(context.Background()) })

	const user = 1
	require.Equal(t, http.StatusCreated, post(t, own.API+"/accounts/", `{"user_id":1,"balance":10}`).status)
	require.Equal(t, "PAID", settled(t, own.API, place(t, own.API, user, "1").ID).Status)
	for i, start := range []struct{ now, before string }{{others, ones}, {ones, others}} {
		own.Set(folders[start.now])
		require.NoError(t, own.Start(t.Context()), &log)
		// For a moment the gateway still uses the old addresses, which may now belong to other services.
		servicetest.Eventually(t, func() bool {
			return found(t, own.API+"/accounts/1") && found(t, own.API+"/orders/?user_id=1")
		})
		require.Equal(t, strconv.Itoa(9-i), balance(t, own.API, user), "the data must be kept")
		require.Equal(t, "PAID", settled(t, own.API, place(t, own.API, user, "1").ID).Status)

		db := container(t, own, "postgres")
		for _, role := range []string{"orders", "orders_owner", "payments", "payments_owner"} {
			require.NoError(t, login(t, db, role, start.now+role+"_db_password"), role)
			require.Error(t, login(t, db, role, start.before+role+"_db_password"), "%s: the old password must be rejected", role)
		}
		for _, service := range []string{"postgres", "rabbitmq", "orders", "payments"} {
			for _, command := range []string{"logs", "top"} {
				out, err := exec.CommandContext(t.Context(), "docker", command, container(t, own, service)).CombinedOutput()
				require.NoError(t, err)
				require.NotContains(t, string(out), start.now, "%s of %s", command, service)
			}
		}
	}
	// A start without changes restarts no container.
	db := container(t, own, "postgres")
	require.NoError(t, own.Start(t.Context()), &log)
	require.Equal(t, db, container(t, own, "postgres"))
}

// found reports whether a GET returns 200. It does not check the contract.
func found(t *testing.T, url string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// container returns the id of the first replica of a service. Other tests may have started
// more replicas.
func container(t *testing.T, s *stack.Stack, service string) string {
	t.Helper()
	all, err := s.Containers(t.Context(), service)
	require.NoError(t, err)
	require.NotEmpty(t, all, service)
	return all[0].ID
}

// login opens a database session over the network, which requires the password.
func login(t *testing.T, db, role, password string) error {
	t.Helper()
	return exec.CommandContext(t.Context(), "docker", "exec", "-e", "PGPASSWORD="+password, db,
		"psql", "-h", "postgres", "-U", role, "-d", "gozon", "-c", "SELECT 1").Run()
}
