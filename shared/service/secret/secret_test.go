package secret_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/service/secret"
)

func write(t *testing.T, file, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
}

func TestFileIsReadEachTime(t *testing.T) {
	t.Parallel()
	p := secret.Password{File: filepath.Join(t.TempDir(), "password")}
	for content, want := range map[string]string{"one": "one", "two\n": "two", " three \r\n": " three ", "a\nb\n": "a\nb"} { //nolint:gocritic // spaces may be part of a password
		write(t, p.File, content)
		require.NoError(t, p.Validate("X_"))
		got, err := p.Read()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	write(t, p.File, "\n")
	_, err := p.Read()
	require.ErrorContains(t, err, "is empty")
}

func TestPasswordIsGivenOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, secret.Password{}.Validate("X_"))
	require.NoError(t, secret.Password{Text: "text"}.Validate("X_"))
	require.ErrorContains(t, secret.Password{File: file}.Validate("X_"), "X_PASSWORD_FILE: read a secret: open "+file)
	write(t, file, "hidden")
	err := secret.Password{Text: "hidden", File: file}.Validate("X_")
	require.ErrorContains(t, err, "X_PASSWORD and X_PASSWORD_FILE are both set")
	require.NotContains(t, err.Error(), "hidden")
}
