package broker

import (
	"errors"
	"fmt"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// requestTimeout bounds a series of requests to the broker, which have no deadline of
// their own: a queue that does not answer would block its caller forever.
const requestTimeout = 10 * time.Second

// connection is a plain AMQP connection, without the client library's reconnects, for
// requests about the topology. It is for one goroutine at a time.
type connection struct {
	*amqp.Connection
	raw  net.Conn
	user string
	ch   *amqp.Channel
}

func connect(amqpURL string, cfg amqp.Config) (*connection, error) {
	uri, err := amqp.ParseURI(amqpURL)
	if err != nil {
		return nil, errors.New("connect: not an AMQP URL") // which may hold a password
	}
	c := &connection{user: uri.Username}
	dial := cfg.Dial
	cfg.Dial = func(network, addr string) (net.Conn, error) {
		raw, err := dial(network, addr)
		c.raw = raw
		return raw, err
	}
	if c.Connection, err = amqp.DialConfig(amqpURL, cfg); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

// channel is the channel for requests, a new one if the broker has closed the last.
func (c *connection) channel() (*amqp.Channel, error) {
	if c.ch == nil || c.ch.IsClosed() {
		ch, err := c.Channel()
		if err != nil {
			return nil, fmt.Errorf("open a channel: %w", err)
		}
		c.ch = ch
	}
	return c.ch, nil
}

// declare declares the topology.
func (c *connection) declare() error {
	ch, err := c.channel()
	if err != nil {
		return err
	}
	return declare(ch)
}

// within calls fn and cuts the connection, and with it every request, when fn takes
// longer than requestTimeout.
func (c *connection) within(fn func() error) error {
	timer := time.AfterFunc(requestTimeout, func() { _ = c.raw.Close() })
	defer timer.Stop()
	return fn()
}

func (c *connection) close() {
	closing(func() { _ = c.Close() })
	_ = c.raw.Close()
}
