//go:build e2e

package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// inside runs a bash script with the network of a container, whose own image may have no shell.
func inside(t *testing.T, container, script string, env ...string) (string, error) {
	t.Helper()
	args := []string{"run", "--rm", "--network", "container:" + container}
	for _, variable := range env {
		args = append(args, "-e", variable)
	}
	image := inspect(t, "postgres").Image
	out, err := exec.CommandContext(t.Context(), "docker", append(args, "--entrypoint", "bash", image, "-c", script)...).CombinedOutput()
	return string(out), err
}

// Every container reaches what it needs, by name, and nothing else, not even by its address.
func TestNetworksSeparateTheParts(t *testing.T) {
	t.Parallel()
	ports := map[string][]int{"frontend": {8080}, "gateway": {8080}, "orders": {8080, 9090}, "payments": {8080, 9090}, "postgres": {5432}, "rabbitmq": {5672, 15672}}
	for from, reaches := range map[string][]string{
		"frontend": {"gateway"},
		"gateway":  {"frontend", "orders", "payments"},
		"orders":   {"gateway", "payments", "postgres", "rabbitmq"},
		"payments": {"gateway", "orders", "postgres", "rabbitmq"},
		"postgres": {"orders", "payments", "rabbitmq"},
		"rabbitmq": {"orders", "payments", "postgres"},
	} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			var script strings.Builder
			want := map[string]bool{}
			for to := range ports {
				for _, addr := range append(addresses(t, to), to) {
					for _, port := range ports[to] {
						target := addr + "/" + strconv.Itoa(port)
						script.WriteString("timeout 2 bash -c ': > /dev/tcp/" + target + "' 2>/dev/null && echo " + to + " & ")
					}
				}
				want[to] = to == from
			}
			for _, to := range reaches {
				want[to] = true
			}
			out, err := inside(t, container(t, shop, from), script.String()+"wait")
			require.NoError(t, err, out)
			got := map[string]bool{}
			for to := range ports {
				got[to] = strings.Contains(out, to+"\n")
			}
			require.Equal(t, want, got)
		})
	}
}

// addresses returns the addresses of a container in all of its networks.
func addresses(t *testing.T, service string) (all []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "inspect", "-f", "{{json .NetworkSettings.Networks}}", container(t, shop, service)).Output()
	require.NoError(t, err)
	var networks map[string]struct{ IPAddress string }
	require.NoError(t, json.Unmarshal(out, &networks))
	for _, n := range networks {
		all = append(all, n.IPAddress)
	}
	return all
}

// PostgreSQL accepts the roles of the services, in their database, with a password, from their
// network. The administrator connects only in the container.
func TestDatabaseAcceptsOnlyTheRolesOfTheServices(t *testing.T) {
	t.Parallel()
	secrets, err := shop.Secrets()
	require.NoError(t, err)
	orders := container(t, shop, "orders")
	connect := func(role, database, password string) (string, error) {
		return inside(t, orders, "psql -h postgres -AtX -U "+role+" -d "+database+" -c 'SELECT current_user'", "PGPASSWORD="+password)
	}
	for _, role := range []string{"orders", "orders_owner", "payments", "payments_owner"} {
		password := secrets[role+"_db_password"]
		out, err := connect(role, "gozon", password)
		require.NoError(t, err, out)
		require.Equal(t, role+"\n", out)
		for database, password := range map[string]string{"postgres": password, "template1": password, "gozon": "wrong"} {
			out, err := connect(role, database, password)
			require.Error(t, err, out)
		}
	}
	for _, role := range []string{"gozon", "postgres", "nobody"} {
		out, err := connect(role, "gozon", "gozon")
		require.Error(t, err)
		require.Contains(t, out, "no pg_hba.conf entry", role)
	}
}

// The services own nothing, can create nothing, and cannot take all connections.
func TestRolesOfTheServicesAreLimited(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"SELECT string_agg(rolname || ' ' || rolconnlimit, ', ' ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'":                                                            "gozon -1, orders 80, orders_owner 10, payments 80, payments_owner 10",
		"SELECT count(*) FROM pg_auth_members JOIN pg_roles ON pg_roles.oid = member WHERE rolname !~ '^pg_'":                                                                       "0",
		"SELECT rolname FROM pg_authid WHERE rolsuper AND rolpassword IS NOT NULL":                                                                                                  "",
		"SELECT string_agg(DISTINCT schemaname || ' ' || tableowner, ', ') FROM pg_tables WHERE schemaname IN ('orders', 'payments')":                                               "orders orders_owner, payments payments_owner",
		"SELECT count(*) FROM pg_shdepend JOIN pg_roles ON pg_roles.oid = refobjid WHERE deptype = 'o' AND rolname IN ('orders', 'payments')":                                       "0",
		"SELECT count(*) FROM unnest('{orders,payments}'::text[]) AS role, unnest('{orders,payments,public}'::text[]) AS schema WHERE has_schema_privilege(role, schema, 'CREATE')": "0",
		"SELECT count(*) FROM pg_roles, pg_database WHERE datallowconn AND rolname ~ '^(orders|payments)' AND (has_database_privilege(rolname, datname, 'TEMP') OR has_database_privilege(rolname, datname, 'CREATE')" +
			" OR has_database_privilege(rolname, datname, 'CONNECT') <> (datname = 'gozon'))": "0",
	} {
		got, err := shop.SQL(t.Context(), query)
		require.NoError(t, err)
		require.Equal(t, want, got, query)
	}
}

// With the passwords in the repository, the shop refuses to start where other machines may
// reach it, and says what to do.
func TestDevelopmentPasswordsAreRefusedBeyondLoopback(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	const script = `trap 'docker compose down --volumes' EXIT
		for service in postgres orders-migrate payments-migrate orders payments; do
			! docker compose run --rm --no-deps -T $service > "$OUT/$service" 2>&1
		done`
	err := shop.Shell(t.Context(), script, "COMPOSE_PROJECT_NAME=gozon-e2e-exposed", "BIND_ADDR=0.0.0.0", "SECRETS_DIR=./deploy/secrets/development", "OUT="+out)
	require.NoError(t, err)
	for _, service := range []string{"postgres", "orders-migrate", "payments-migrate", "orders", "payments"} {
		text, err := os.ReadFile(filepath.Join(out, service))
		require.NoError(t, err)
		require.Contains(t, string(text), "is a development password", service)
		require.Contains(t, string(text), "make up", service)
		require.NotContains(t, string(text), "development-", service)
	}
}
