// Package databasetest runs a real PostgreSQL for tests. Each test gets a separate database
// with the roles and schemas of the shop's database.
package databasetest

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-connections/nat"
	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver of wait.ForSQL and of Admin
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"gozon/shared/delivery/database"
	"gozon/shared/test/containertest"
	"gozon/shared/test/pins"
)

const (
	admin    = "gozon"
	port     = 5432
	template = "gozon"
	roles    = "orders, orders_owner, payments, payments_owner"

	// adapt changes what differs from the shop: tests connect as the administrator, and many
	// tests share the roles.
	adapt = "ALTER ROLE " + admin + ` PASSWORD '` + admin + `';
		ALTER ROLE orders CONNECTION LIMIT -1; ALTER ROLE orders_owner CONNECTION LIMIT -1;
		ALTER ROLE payments CONNECTION LIMIT -1; ALTER ROLE payments_owner CONNECTION LIMIT -1;`
)

var shared = containertest.NewShared(start)

func start() (*containertest.Container, error) { return run(func(*testcontainers.ContainerRequest) {}) }

// run starts a server with a modified request.
func run(modify func(*testcontainers.ContainerRequest)) (*containertest.Container, error) {
	req := testcontainers.ContainerRequest{
		Image: pins.Image("postgres"),
		// fsync stays on, unlike in most test databases, because some tests kill the server.
		Cmd: []string{"postgres", "-c", "max_connections=300"},
		Env: map[string]string{"POSTGRES_USER": admin, "POSTGRES_PASSWORD": admin, "POSTGRES_DB": template},
		Files: []testcontainers.ContainerFile{
			script("postgres/10-roles.sh", "/docker-entrypoint-initdb.d/10-roles.sh"), script("postgres/roles.sh", "/roles.sh"), script("password.sh", "/password.sh"),
			password("orders"), password(Owner("orders")), password("payments"), password(Owner("payments")),
			{Reader: strings.NewReader(adapt), ContainerFilePath: "/docker-entrypoint-initdb.d/20-adapt.sql", FileMode: 0o644},
		},
		WaitingFor: wait.ForSQL("5432/tcp", "pgx", func(host string, p nat.Port) string {
			return fmt.Sprintf("postgres://%s:%s@%s:%s/%s?sslmode=disable", admin, admin, host, p.Port(), template)
		}),
	}
	modify(&req)
	return containertest.Run(req, port)
}

// script returns a file of the folder deploy.
func script(name, path string) testcontainers.ContainerFile {
	return testcontainers.ContainerFile{HostFilePath: containertest.Deployed(name), ContainerFilePath: path, FileMode: 0o755}
}

// password returns the file with the password of a role, which is its name.
func password(role string) testcontainers.ContainerFile {
	return testcontainers.ContainerFile{Reader: strings.NewReader(role), ContainerFilePath: "/run/secrets/" + role + "_db_password", FileMode: 0o644}
}

// Database is a database with the shop's roles and schemas.
type Database struct {
	name   string
	server *containertest.Container
}

// New creates an empty database in the container that the package shares.
func New(t testing.TB) *Database {
	t.Helper()
	return create(t, shared.Get(t))
}

// Own creates a database in a separate container, for a test that kills the container.
func Own(t testing.TB) (*Database, *containertest.Container) {
	t.Helper()
	c := containertest.Own(t, start)
	return create(t, c), c
}

func create(t testing.TB, c *containertest.Container) *Database {
	t.Helper()
	d := &Database{name: "t_" + strings.ReplaceAll(uuid.NewString(), "-", ""), server: c}
	db, err := sql.Open("pgx", url(c, admin, "postgres"))
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), "CREATE DATABASE "+d.name+" TEMPLATE "+template)
	require.NoError(t, err)
	// The copy does not have the privileges of its template.
	_, err = db.ExecContext(t.Context(), "REVOKE ALL ON DATABASE "+d.name+" FROM PUBLIC; GRANT CONNECT ON DATABASE "+d.name+" TO "+roles)
	require.NoError(t, err)
	return d
}

func url(c *containertest.Container, role, database string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", role, role, c.Addr, database)
}

// URL returns the connection URL for a role: orders or payments, [Owner] of one of them, or
// gozon, the administrator.
func (d *Database) URL(role string) string { return url(d.server, role, d.name) }

// Owner returns the role that owns the schema of role.
func Owner(role string) string { return role + "_owner" }

// Migrate migrates the schema of role, as its owner.
func (d *Database) Migrate(t testing.TB, role string, migrations fs.FS) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cfg := database.Config{URL: d.URL(Owner(role)), MaxConns: 4}
	require.NoError(t, database.Migrate(ctx, cfg, role, migrations, slog.New(slog.DiscardHandler)))
}

// Open migrates the schema of role and returns a pool that connects as role, and a handle for
// the statements of tests, which connects as the administrator.
func (d *Database) Open(t testing.TB, role string, migrations fs.FS) (*sql.DB, *database.DB) {
	t.Helper()
	d.Migrate(t, role, migrations)
	db, err := database.Open(database.Config{URL: d.URL(role), MaxConns: 10})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return d.Admin(t), db
}
