package brokertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"

	"gozon/shared/test/containertest"
)

// admin is a user that production does not have. Tests look at the broker and break it as
// admin, who may also publish in the name of other users.
const admin = "admin"

// definitions are those of deploy/rabbitmq/definitions.json.
type definitions map[string][]map[string]any

// secret returns the path of the password of a user for development.
func secret(user string) string {
	return containertest.Deployed("secrets/development/" + user + "_amqp_password")
}

func password(user string) string {
	if user == admin {
		return admin
	}
	password, err := os.ReadFile(secret(user))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(password))
}

// read returns the definitions, with admin as an additional user of a virtual host.
func read(vhost string) (d definitions, err error) {
	text, err := os.ReadFile(containertest.Deployed("rabbitmq/definitions.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("definitions.json: %w", err)
	}
	d["users"] = append(d["users"], map[string]any{"name": admin, "password": admin, "tags": []string{"administrator", "impersonator"}})
	d["permissions"] = append(d["permissions"], map[string]any{"user": admin, "configure": ".*", "write": ".*", "read": ".*"})
	for _, all := range d {
		for _, entity := range all {
			entity["vhost"] = vhost
		}
	}
	d["vhosts"] = []map[string]any{{"name": vhost}}
	return d, nil
}

// files returns what the container needs to start as in production.
func files() ([]testcontainers.ContainerFile, error) {
	d, err := read("/")
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	all := []testcontainers.ContainerFile{
		{HostFilePath: containertest.Deployed("rabbitmq/start.sh"), ContainerFilePath: "/start.sh", FileMode: 0o755},
		{HostFilePath: containertest.Deployed("password.sh"), ContainerFilePath: "/password.sh", FileMode: 0o755},
		{HostFilePath: containertest.Deployed("rabbitmq/20-definitions.conf"), ContainerFilePath: "/etc/rabbitmq/conf.d/20-definitions.conf", FileMode: 0o644},
		{Reader: bytes.NewReader(text), ContainerFilePath: "/definitions.json", FileMode: 0o644},
	}
	for _, user := range []string{"orders", "payments", "operator"} {
		all = append(all, testcontainers.ContainerFile{HostFilePath: secret(user), ContainerFilePath: "/run/secrets/" + user + "_amqp_password", FileMode: 0o444})
	}
	return all, nil
}

// Import imports the definitions into the virtual host, as RabbitMQ does when it starts.
func (b *Broker) Import(t testing.TB) {
	t.Helper()
	d, err := read(b.vhost)
	require.NoError(t, err)
	delete(d, "users") // imported when the container started
	b.manage(t, http.MethodPost, "definitions", d, nil)
}
