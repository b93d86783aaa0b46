package database_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/database"
	"gozon/shared/service/secret"
	"gozon/shared/test/databasetest"
)

// A password is changed while the pool is in use: open connections continue, new ones use the
// new password, and until the file has it, they fail like those to a database that is down.
func TestPasswordIsReadForEachConnection(t *testing.T) {
	t.Parallel()
	role := "r" + strings.ReplaceAll(uuid.NewString(), "-", "")
	d := databasetest.New(t)
	admin, err := database.Connect(t.Context(), database.Config{URL: d.URL("gozon")})
	require.NoError(t, err)
	defer admin.Close(t.Context())
	_, err = admin.Exec(t.Context(), "CREATE ROLE "+role+" LOGIN PASSWORD 'one' IN ROLE orders")
	require.NoError(t, err)

	cfg := database.Config{
		URL: strings.Replace(d.URL("orders"), "orders:orders@", role+"@", 1), MaxConns: 4,
		Password: secret.Password{File: filepath.Join(t.TempDir(), "password")},
	}
	write := func(password string) {
		require.NoError(t, os.WriteFile(cfg.Password.File, []byte(password+"\n"), 0o600))
	}
	write("one")
	require.NoError(t, cfg.Validate())
	db, err := database.Open(cfg)
	require.NoError(t, err)
	defer db.Close()
	old, err := db.Acquire(t.Context())
	require.NoError(t, err)
	defer old.Release()

	_, err = admin.Exec(t.Context(), "ALTER ROLE "+role+" PASSWORD 'two'")
	require.NoError(t, err)
	for _, outdated := range []string{"one", ""} {
		write(outdated)
		_, err = db.Acquire(t.Context())
		require.Error(t, err)
		require.True(t, database.IsUnavailable(err), err)
		_, err = database.Connect(t.Context(), cfg)
		require.Error(t, err)
	}
	write("two")
	fresh, err := db.Acquire(t.Context())
	require.NoError(t, err)
	defer fresh.Release()
	session, err := database.Connect(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, session.Close(t.Context()))
	_, err = old.Exec(t.Context(), "SELECT 1")
	require.NoError(t, err, "the old connection was closed")
}

func TestOnlyOnePasswordIsConfigured(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("hidden"), 0o600))
	const with, without = "postgres://orders:hidden@localhost/gozon", "postgres://orders@localhost/gozon"
	for name, tc := range map[string]struct {
		config database.Config
		want   string
	}{
		"password in the URL":             {database.Config{URL: with, MaxConns: 4}, ""},
		"password in a file":              {database.Config{URL: without, SessionURL: without, MaxConns: 4, Password: secret.Password{File: file}}, ""},
		"in the URL and in a file":        {database.Config{URL: with, MaxConns: 4, Password: secret.Password{File: file}}, "DATABASE_URL contains a password"},
		"in the session URL and directly": {database.Config{URL: without, SessionURL: with, MaxConns: 4, Password: secret.Password{Text: "hidden"}}, "DATABASE_SESSION_URL contains a password"},
		"directly and in a file":          {database.Config{URL: without, MaxConns: 4, Password: secret.Password{Text: "hidden", File: file}}, "DATABASE_PASSWORD and DATABASE_PASSWORD_FILE are both set"},
		"in a file that is missing":       {database.Config{URL: without, MaxConns: 4, Password: secret.Password{File: file + ".missing"}}, "DATABASE_PASSWORD_FILE: read a secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tc.config.Validate()
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "hidden")
		})
	}
}
