//go:build e2e

package e2e_test

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/test/servicetest"
)

var (
	services   = []string{"postgres", "rabbitmq", "orders", "payments", "gateway", "frontend"}
	migrations = []string{"orders-migrate", "payments-migrate"} // they have ended
)

type inspected struct {
	Image      string
	Config     struct{ User string }
	HostConfig struct {
		ReadonlyRootfs bool
		CapDrop        []string
		SecurityOpt    []string
		PidsLimit      int
		Memory         int
		CPUQuota       int `json:"CpuQuota"`
		Ulimits        []struct{ Name string }
		RestartPolicy  struct{ Name string }
		LogConfig      struct{ Config map[string]string }
	}
	NetworkSettings struct {
		Ports map[string][]struct{ HostIP, HostPort string }
	}
}

func inspect(t *testing.T, service string) inspected {
	t.Helper()
	ids, err := exec.CommandContext(t.Context(), "docker", "ps", "-aq", "--filter", "label=com.docker.compose.project="+shop.Project,
		"--filter", "label=com.docker.compose.service="+service).Output()
	require.NoError(t, err)
	require.NotEmpty(t, ids, service)
	out, err := exec.CommandContext(t.Context(), "docker", "inspect", strings.Fields(string(ids))[0]).Output()
	require.NoError(t, err)
	var all []inspected
	require.NoError(t, json.Unmarshal(out, &all))
	return all[0]
}

func TestContainersAreConfined(t *testing.T) {
	t.Parallel()
	for _, service := range slices.Concat(services, migrations) {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			c := inspect(t, service)
			require.NotContains(t, []string{"", "0", "root"}, c.Config.User)
			require.True(t, c.HostConfig.ReadonlyRootfs)
			require.Equal(t, []string{"ALL"}, c.HostConfig.CapDrop)
			require.Contains(t, strings.Join(c.HostConfig.SecurityOpt, " "), "no-new-privileges")
			require.Positive(t, c.HostConfig.PidsLimit)
			require.Positive(t, c.HostConfig.Memory)
			require.Positive(t, c.HostConfig.CPUQuota)
			require.ElementsMatch(t, []struct{ Name string }{{"core"}, {"nofile"}}, c.HostConfig.Ulimits)
			restart := "unless-stopped"
			if slices.Contains(migrations, service) {
				restart = "no"
			}
			require.Equal(t, restart, c.HostConfig.RestartPolicy.Name)
			require.NotEmpty(t, c.HostConfig.LogConfig.Config["max-size"], "the log is not rotated")
			published := 0
			for _, bindings := range c.NetworkSettings.Ports {
				for _, b := range bindings {
					published++
					require.Equal(t, "127.0.0.1", b.HostIP)
				}
			}
			want := map[string]int{"gateway": 1, "frontend": 1}[service]
			require.Equal(t, want, published)
		})
	}
}

func TestServiceImagesAreSmall(t *testing.T) {
	t.Parallel()
	const limit = 25_000_000
	for _, service := range []string{"orders", "payments", "gateway"} {
		out, err := exec.CommandContext(t.Context(), "docker", "image", "inspect", "-f", "{{.Size}}", inspect(t, service).Image).Output()
		require.NoError(t, err)
		var size int
		require.NoError(t, json.Unmarshal(out, &size))
		require.Less(t, size, limit, service)
	}
}

func TestRolesAccessOnlyTheirOwnSchema(t *testing.T) {
	t.Parallel()
	for _, tc := range [][2]string{{"orders", "payments"}, {"payments", "orders"}} {
		own, other := tc[0], tc[1]
		got, err := shop.SQL(t.Context(), "SELECT has_schema_privilege('"+own+"', '"+own+"', 'USAGE'), has_schema_privilege('"+own+"', '"+other+"', 'USAGE'), "+
			"has_schema_privilege('"+own+"', 'public', 'CREATE')")
		require.NoError(t, err)
		require.Equal(t, "t|f|f", got)
		_, err = shop.SQL(t.Context(), "SET ROLE "+own+"; SELECT count(*) FROM "+other+".outbox")
		require.ErrorContains(t, err, "permission denied")
	}
}

func TestPageHasSecurityHeaders(t *testing.T) {
	t.Parallel()
	a := get(t, shop.Page+"/")
	require.Equal(t, http.StatusOK, a.status)
	require.Contains(t, a.header.Get("Content-Type"), "text/html")
	csp := a.header.Get("Content-Security-Policy")
	require.Contains(t, csp, "default-src 'none'")
	require.NotContains(t, csp, "unsafe")
	require.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"))
	require.Equal(t, http.StatusNotFound, get(t, shop.Page+"/nothing").status)
}

// Neither folders nor files that are not part of the page are served.
func TestPageServesOnlyItsFiles(t *testing.T) {
	t.Parallel()
	status := func(path string) int {
		status, _, _ := send(t, http.MethodGet, shop.Page+path, "Accept", "*/*", "")
		return status
	}
	require.Equal(t, http.StatusOK, status("/js/main.js"))
	for _, path := range []string{"/js/", "/js", "/css/", "/.git/HEAD", "/.env", "/nginx.conf", "/docker-compose.yml", "/404.html"} {
		require.Equal(t, http.StatusNotFound, status(path), path)
	}
}

// A client cannot make the lines of a log long.
func TestLogLinesAreBounded(t *testing.T) {
	t.Parallel()
	for service, url := range map[string]string{
		"gateway":  shop.API + "/" + strings.Repeat("x", 30_000),
		"frontend": shop.Page + "/" + strings.Repeat("x", 8_000),
	} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			id := "bounded-" + service
			status, _, _ := send(t, http.MethodGet, url, "X-Request-Id", id, "")
			require.Equal(t, http.StatusNotFound, status)
			servicetest.Eventually(t, func() bool {
				out, err := exec.CommandContext(t.Context(), "docker", "logs", container(t, shop, service)).CombinedOutput()
				require.NoError(t, err)
				for line := range strings.Lines(string(out)) {
					if strings.Contains(line, id) {
						require.Less(t, len(line), 1<<10)
						return true
					}
				}
				return false
			})
		})
	}
}
