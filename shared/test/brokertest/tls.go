package brokertest

import (
	"net/url"
	"strings"
	"testing"

	"github.com/testcontainers/testcontainers-go"

	"gozon/shared/test/containertest"
)

const tlsConf = `listeners.tcp = none
listeners.ssl.default = 5672
ssl_options.certfile = /tls/cert.pem
ssl_options.keyfile = /tls/key.pem
ssl_options.verify = verify_none
`

// OwnTLS creates a virtual host in a separate container, which requires TLS, with a certificate
// from the given files. It returns the amqps URL for clients that trust the CA in caFile.
func OwnTLS(t testing.TB, certFile, keyFile string) (urlFor func(caFile string) string) {
	t.Helper()
	file := func(name, path string) testcontainers.ContainerFile {
		return testcontainers.ContainerFile{HostFilePath: name, ContainerFilePath: path, FileMode: 0o644}
	}
	b := create(t, containertest.Own(t, func() (*containertest.Container, error) {
		return run(file(certFile, "/tls/cert.pem"), file(keyFile, "/tls/key.pem"),
			testcontainers.ContainerFile{Reader: strings.NewReader(tlsConf), ContainerFilePath: "/etc/rabbitmq/conf.d/30-tls.conf", FileMode: 0o644})
	}))
	return func(caFile string) string {
		u, err := url.Parse(b.URL("orders"))
		if err != nil {
			panic(err) // cannot happen
		}
		u.Scheme, u.RawQuery = "amqps", url.Values{"cacertfile": {caFile}}.Encode()
		return u.String()
	}
}
