package broker

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"gozon/shared/service/secret"
)

// Config is read from the environment. Embed it in a service's configuration.
type Config struct {
	AMQPURL         string          `env:"AMQP_URL,notEmpty" usage:"amqp://user@host:5672/vhost"`
	Password        secret.Password `envPrefix:"AMQP_"`
	DeadLetterAfter time.Duration   `env:"DEAD_LETTER_AFTER" envDefault:"5m" usage:"how long a failing message is retried before it is dead-lettered"`
}

// user returns the user in a valid URL.
func (c Config) user() string {
	uri, _ := amqp.ParseURI(c.AMQPURL)
	return uri.Username
}

// Validate reports invalid values. Its errors never contain the password.
func (c Config) Validate() error {
	if err := c.Password.Validate("AMQP_"); err != nil {
		return err
	}
	if _, err := c.url(); err != nil {
		return err
	}
	if c.DeadLetterAfter <= 0 {
		return fmt.Errorf("DEAD_LETTER_AFTER is %s: it must be positive", c.DeadLetterAfter)
	}
	return nil
}

// ForDevelopment reports whether the password is a development password.
func (c Config) ForDevelopment() bool {
	address, err := c.url()
	if err != nil {
		return false
	}
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	password, _ := u.User.Password()
	return secret.ForDevelopment(password)
}

// url returns the URL of the next connection, with the current password.
func (c Config) url() (string, error) {
	u, err := url.Parse(c.AMQPURL)
	if err != nil || u.Scheme != "amqp" && u.Scheme != "amqps" || u.Host == "" {
		return "", errors.New("AMQP_URL is not an AMQP URL") // err may contain the password
	}
	if !c.Password.IsSet() {
		return c.AMQPURL, nil
	}
	if _, ok := u.User.Password(); ok {
		return "", errors.New("AMQP_URL contains a password, and another one is configured")
	}
	password, err := c.Password.Read()
	if err != nil {
		return "", err
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String(), nil
}
