package broker

import (
	"errors"
	"fmt"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// requestTimeout bounds a series of requests to the broker. The client library has no
// deadline for them: a queue that does not respond would block the caller forever.
const requestTimeout = 10 * time.Second

// connection is a plain AMQP connection that does not reconnect. It is used to declare
// and inspect the topology, to redrive, to dead-letter and to collect dead letters. It is not
// safe for concurrent use.
type connection struct {
	*amqp.Connection
	netConn net.Conn
	user    string
	ch      *amqp.Channel
}

func (c Config) connect(cfg amqp.Config) (*connection, error) {
	amqpURL, err := c.url()
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	uri, err := amqp.ParseURI(amqpURL)
	if err != nil {
		return nil, errors.New("connect: not an AMQP URL") // err may contain the password
	}
	conn := &connection{user: uri.Username}
	dial := cfg.Dial
	cfg.Dial = func(network, addr string) (net.Conn, error) {
		netConn, err := dial(network, addr)
		conn.netConn = netConn
		return netConn, err
	}
	if conn.Connection, err = amqp.DialConfig(amqpURL, cfg); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// channel returns the channel for topology requests. It opens a new one if the broker has
// closed the last.
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

// declare declares a queue and its dead-letter queue.
func (c *connection) declare(queue string) error {
	ch, err := c.channel()
	if err != nil {
		return err
	}
	return declare(ch, queue)
}

// withTimeout calls fn. If fn runs for longer than requestTimeout, it closes the
// connection, which fails all requests on it.
func (c *connection) withTimeout(fn func() error) error {
	timer := time.AfterFunc(requestTimeout, func() { _ = c.netConn.Close() })
	defer timer.Stop()
	return fn()
}

func (c *connection) close() {
	closeWithTimeout(func() { _ = c.Close() })
	_ = c.netConn.Close()
}
