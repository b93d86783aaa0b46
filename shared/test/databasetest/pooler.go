package databasetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/go-connections/nat"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"gozon/shared/test/containertest"
	"gozon/shared/test/pins"
)

const (
	poolerPort = 6432
	poolerIni  = "/etc/pgbouncer/pgbouncer.ini"
)

// Pooler starts pgbouncer in transaction mode in front of the server, with two sessions for
// each role. settings are lines of its configuration that override these. It returns the
// connection URL for a role.
func (d *Database) Pooler(t testing.TB, settings ...string) (url func(role string) string) {
	t.Helper()
	host, err := d.server.ContainerIP(t.Context())
	require.NoError(t, err)
	dir := t.TempDir()
	file := func(name, text string) testcontainers.ContainerFile {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return testcontainers.ContainerFile{HostFilePath: path, ContainerFilePath: filepath.Join(filepath.Dir(poolerIni), name), FileMode: 0o644}
	}
	ini := append([]string{
		"[databases]", fmt.Sprintf("* = host=%s port=%d", host, port), "[pgbouncer]", "listen_addr = 0.0.0.0", fmt.Sprint("listen_port = ", poolerPort),
		"auth_type = scram-sha-256", "auth_file = /etc/pgbouncer/userlist.txt", "unix_socket_dir =",
		"pool_mode = transaction", "default_pool_size = 2", "max_prepared_statements = 200",
	}, settings...)
	var users strings.Builder
	for _, role := range []string{admin, "orders", "payments"} {
		fmt.Fprintf(&users, "%q %[1]q\n", role)
	}
	pooler := containertest.Own(t, func() (*containertest.Container, error) {
		return containertest.Run(testcontainers.ContainerRequest{
			Image:      pins.Image("pgbouncer"),
			Entrypoint: []string{"pgbouncer", poolerIni},
			Files:      []testcontainers.ContainerFile{file("pgbouncer.ini", strings.Join(ini, "\n")+"\n"), file("userlist.txt", users.String())},
			WaitingFor: wait.ForSQL(nat.Port(fmt.Sprint(poolerPort, "/tcp")), "pgx", func(host string, p nat.Port) string {
				return fmt.Sprintf("postgres://%s:%s@%s:%s/%s?sslmode=disable", admin, admin, host, p.Port(), d.name)
			}),
		}, poolerPort)
	})
	behind := &Database{d.name, &containertest.Container{Container: pooler.Container, Addr: pooler.Addr}}
	return behind.URL
}
