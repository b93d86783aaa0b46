package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// SecretsDir returns the folder with the passwords of this shop.
func (s *Stack) SecretsDir() (string, error) { return secretsDir(s.Dir, s.env) }

// secretsDir returns the folder that compose uses for the passwords of a shop: env wins over
// the .env file in dir.
func secretsDir(dir string, env []string) (string, error) {
	file, err := os.ReadFile(filepath.Join(dir, ".env"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("secrets: %w", err)
	}
	secrets := filepath.Join("deploy", "secrets", "development")
	for _, line := range append(strings.Split(string(file), "\n"), env...) {
		if value, ok := strings.CutPrefix(line, "SECRETS_DIR="); ok && value != "" {
			secrets = value
		}
	}
	if !filepath.IsAbs(secrets) {
		secrets = filepath.Join(dir, secrets)
	}
	return secrets, nil
}

// Secrets returns the passwords of this shop by the names of their files.
func (s *Stack) Secrets() (map[string]string, error) {
	dir, err := s.SecretsDir()
	if err != nil {
		return nil, err
	}
	return readSecrets(dir)
}

func readSecrets(dir string) (map[string]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	secrets := map[string]string{}
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, fmt.Errorf("secrets: %w", err)
		}
		secrets[f.Name()] = strings.TrimSpace(string(content))
	}
	return secrets, nil
}

// SecretsOf returns the variables of the compose file that give any revision the passwords of
// the shop in dir. Revisions before ADR 28 have variables instead of files.
func SecretsOf(dir string) ([]string, error) {
	folder, err := secretsDir(dir, os.Environ())
	if err != nil {
		return nil, err
	}
	secrets, err := readSecrets(folder)
	if err != nil {
		return nil, err
	}
	env := []string{"SECRETS_DIR=" + folder}
	for name, password := range secrets {
		env = append(env, strings.ToUpper(name)+"="+password)
	}
	return env, nil
}
