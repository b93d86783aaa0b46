package service_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/service/secret"
)

type urls struct {
	One      string          `env:"ONE_URL,notEmpty" usage:"a URL"`
	Two      string          `env:"TWO_URL" envDefault:"" usage:"another URL"`
	Password secret.Password `envPrefix:"ONE_"`
}

func TestURLsMayBeFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	require.NoError(t, os.WriteFile(file, []byte("http://user:hidden@host\n"), 0o600))
	var cfg urls
	require.NoError(t, service.Load(map[string]string{"ONE_URL_FILE": file, "TWO_URL": "http://two", "ONE_PASSWORD_FILE": "password"}, &cfg))
	require.Equal(t, urls{One: "http://user:hidden@host", Two: "http://two", Password: secret.Password{File: "password"}}, cfg)

	err := service.Load(map[string]string{"ONE_URL_FILE": file, "ONE_URL": "http://one", "TWO_URL_FILE": file + ".missing"}, &urls{})
	require.ErrorContains(t, err, "ONE_URL and ONE_URL_FILE are both set")
	require.ErrorContains(t, err, "TWO_URL_FILE: read a secret: open "+file+".missing: no such file")
	require.NotContains(t, err.Error(), "hidden")
}
