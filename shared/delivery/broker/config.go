package broker

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Config is read from the environment. Embed it in a service's configuration.
type Config struct {
	AMQPURL         string        `env:"AMQP_URL,notEmpty" usage:"amqp://user:password@host:5672/vhost"`
	DeadLetterAfter time.Duration `env:"DEAD_LETTER_AFTER" envDefault:"5m" usage:"how long a failing message is retried before it is dead-lettered"`
}

// Validate reports invalid values. Its errors never contain the password.
func (c Config) Validate() error {
	if u, err := url.Parse(c.AMQPURL); err != nil || u.Scheme != "amqp" && u.Scheme != "amqps" || u.Host == "" {
		return errors.New("AMQP_URL is not an AMQP URL")
	}
	if c.DeadLetterAfter <= 0 {
		return fmt.Errorf("DEAD_LETTER_AFTER is %s: it must be positive", c.DeadLetterAfter)
	}
	return nil
}
