package databasetest

import (
	"testing"

	"github.com/testcontainers/testcontainers-go"

	"gozon/shared/test/containertest"
)

// OwnTLS creates a database in a separate container, with a certificate from the given files.
func OwnTLS(t testing.TB, certFile, keyFile string) *Database {
	t.Helper()
	return create(t, containertest.Own(t, func() (*containertest.Container, error) {
		return run(func(r *testcontainers.ContainerRequest) {
			r.Files = append(r.Files,
				testcontainers.ContainerFile{HostFilePath: certFile, ContainerFilePath: "/tls/cert.pem", FileMode: 0o644},
				testcontainers.ContainerFile{HostFilePath: keyFile, ContainerFilePath: "/tls/key.pem", FileMode: 0o600})
			// The server accepts only a key that nobody else can read.
			r.Entrypoint = []string{"bash", "-c", `chown postgres /tls/key.pem && exec docker-entrypoint.sh "$0" "$@"`}
			r.Cmd = append(r.Cmd, "-c", "ssl=on", "-c", "ssl_cert_file=/tls/cert.pem", "-c", "ssl_key_file=/tls/key.pem")
		})
	}))
}
