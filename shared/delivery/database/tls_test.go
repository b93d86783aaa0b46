package database_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/database"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/tlstest"
)

// With sslmode=verify-full, connections are encrypted, to a server whose certificate is from
// the CA in sslrootcert and has the name in the URL.
func TestServerIsVerified(t *testing.T) {
	t.Parallel()
	ca := tlstest.NewCA(t)
	cert, key := ca.Issue(t, t.TempDir(), "127.0.0.1")
	url := func(d *databasetest.Database, ca *tlstest.CA) string {
		return strings.Replace(d.URL(schema), "sslmode=disable", "sslmode=verify-full&sslrootcert="+ca.File(t), 1)
	}
	d := databasetest.OwnTLS(t, cert, key)
	cfg := database.Config{URL: url(d, ca), MaxConns: 4}
	require.NoError(t, cfg.Validate())
	db, err := database.Open(cfg)
	require.NoError(t, err)
	defer db.Close()
	const isEncrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
	var pool, session bool
	require.NoError(t, db.QueryRow(t.Context(), isEncrypted).Scan(&pool))
	conn, err := database.Connect(t.Context(), cfg)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	require.NoError(t, conn.QueryRow(t.Context(), isEncrypted).Scan(&session))
	require.Equal(t, []bool{true, true}, []bool{pool, session})

	for name, tc := range map[string]struct{ url, want string }{
		"another CA":       {url(d, tlstest.NewCA(t)), "certificate signed by unknown authority"},
		"another name":     {strings.Replace(cfg.URL, "127.0.0.1", "localhost", 1), "certificate is not valid for any names"},
		"a server without": {url(databasetest.New(t), ca), "server refused TLS connection"},
	} {
		_, err := database.Connect(t.Context(), database.Config{URL: tc.url})
		require.ErrorContains(t, err, tc.want, name)
	}
}
