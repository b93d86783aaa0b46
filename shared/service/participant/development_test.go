package participant

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The passwords in the repository are refused unless only this machine reaches the shop.
func TestDevelopmentPasswordsRequireALoopbackAddress(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("development-orders\n"), 0o600))
	for name, environ := range map[string]map[string]string{
		"database, in a file":           {"DATABASE_PASSWORD_FILE": file},
		"database, in a URL with hosts": {"DATABASE_URL": "postgres://orders:development-orders@one:5432,two:5432/test"},
		"database, in the session URL":  {"DATABASE_SESSION_URL": "postgres://orders:development-orders@localhost/test"},
		"broker, in a variable":         {"AMQP_PASSWORD": "development-orders"},
		"broker, in the URL":            {"AMQP_URL": "amqp://orders:development-orders@localhost/"},
		"others":                        {"DATABASE_PASSWORD": "random", "AMQP_PASSWORD": "random"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, environ)
			require.NoError(t, err, "the default address")
			for addr, local := range map[string]bool{
				"127.0.0.1": true, "127.0.0.2": true, "::1": true, "[::1]": true, "localhost": true,
				"0.0.0.0": false, "::": false, "[::]": false, "192.168.0.1": false, "127.0.0.1.example.org": false,
			} {
				environ["BIND_ADDR"] = addr
				_, err := load(t, environ)
				if local || name == "others" {
					require.NoError(t, err, addr)
					continue
				}
				require.ErrorContains(t, err, `BIND_ADDR is "`+addr+`"`)
				require.ErrorContains(t, err, "make up")
				require.NotContains(t, err.Error(), "development-orders")
			}
		})
	}
}
