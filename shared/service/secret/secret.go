// Package secret reads passwords from files. Unlike an environment variable, a file is not
// shown by docker inspect, and its content can be replaced while the service runs.
package secret

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Password is a password that is configured directly or as the name of a file. Embed it in a
// configuration with an envPrefix such as DATABASE_.
type Password struct {
	Text string `env:"PASSWORD" envDefault:"" usage:"password, if it is not part of the URL"`
	File string `env:"PASSWORD_FILE" envDefault:"" usage:"file with that password, which is read again for each new connection"`
}

// IsSet reports whether there is a password.
func (p Password) IsSet() bool { return p.Text != "" || p.File != "" }

// Validate reports a password that is configured twice, or a file that cannot be read. prefix
// is the envPrefix.
func (p Password) Validate(prefix string) error {
	if p.Text != "" && p.File != "" {
		return fmt.Errorf("%[1]sPASSWORD and %[1]sPASSWORD_FILE are both set", prefix)
	}
	if _, err := p.Read(); p.IsSet() && err != nil {
		return fmt.Errorf("%sPASSWORD_FILE: %w", prefix, err)
	}
	return nil
}

// Read returns the current password.
func (p Password) Read() (string, error) {
	if p.File == "" {
		return p.Text, nil
	}
	return ReadFile(p.File)
}

// ForDevelopment reports whether a password is one of those in the repository, which everybody
// can read.
func ForDevelopment(password string) bool { return strings.HasPrefix(password, "development-") }

// ReadFile returns the content of a file, without the line break at its end. An empty file is
// an error: a shell truncates a file before it writes to it.
func ReadFile(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" {
		return "", errors.New("read a secret: " + name + " is empty")
	}
	return s, nil
}
