package databasetest

import (
	"testing"

	"github.com/testcontainers/testcontainers-go"

	"gozon/shared/test/containertest"
)

// OwnDisk creates a database in a separate container whose disk is small enough to be filled.
// The server is started again each time it exits, as by the restart policy of a container.
func OwnDisk(t testing.TB) *Database {
	t.Helper()
	return create(t, containertest.Own(t, func() (*containertest.Container, error) {
		return run(func(r *testcontainers.ContainerRequest) {
			r.Tmpfs = map[string]string{"/var/lib/postgresql/data": "size=192m"}
			r.Entrypoint = []string{"bash", "-c", `trap 'kill $!; exit' TERM; while :; do docker-entrypoint.sh "$0" "$@" & wait $!; sleep 0.5; done`}
			r.Cmd = append(r.Cmd, "-c", "min_wal_size=32MB", "-c", "max_wal_size=32MB")
		})
	}))
}

// FillDisk fills the disk of [OwnDisk]. The returned function frees it again.
func (d *Database) FillDisk(t testing.TB) (free func()) {
	t.Helper()
	const file = "/var/lib/postgresql/data/fill"
	d.server.Command(t, "bash", "-c", "! cat /dev/zero > "+file)
	return func() { d.server.Command(t, "rm", file) }
}

// FillLog writes to the write-ahead log until the server stops because the disk is full.
func (d *Database) FillLog(t testing.TB) {
	t.Helper()
	db := d.Admin(t)
	for {
		if _, err := db.ExecContext(t.Context(), "SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1 << 20))"); err != nil {
			return
		}
	}
}
