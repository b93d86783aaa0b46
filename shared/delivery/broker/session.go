package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	rabbitmq "github.com/wagslane/go-rabbitmq"
)

// ErrNotConnected is returned while there is no session. A new one is being established.
var ErrNotConnected = errors.New("not connected to the broker")

var errSessionEnded = errors.New("the session ended")

const closeTimeout = 2 * time.Second

// session is one connection of the client library.
type session struct {
	conn   *rabbitmq.Conn
	socket *socket // used by conn
	log    rabbitmq.Logger
	ended  chan struct{} // closed by end
	once   sync.Once
}

// end marks the session as ended. Its owner then closes it and creates a new one.
func (s *session) end() { s.once.Do(func() { close(s.ended) }) }

// newSession connects. If queue is not empty, it declares that queue first.
func newSession(c Config, name, queue string, log *slog.Logger) (*session, error) {
	s := &session{ended: make(chan struct{})}
	s.log = clientLog{log, s.end}
	cfg := clientConfig(name)
	if queue != "" {
		setup, err := c.connect(cfg)
		if err != nil {
			return nil, err
		}
		err = setup.withTimeout(func() error { return setup.declare(queue) })
		setup.close()
		if err != nil {
			return nil, err
		}
	}
	cfg.Dial = func(network, addr string) (net.Conn, error) {
		select {
		case <-s.ended:
			return nil, errSessionEnded // fails the library's own reconnect
		default:
		}
		c, err := amqp.DefaultDial(dialTimeout)(network, addr)
		if err != nil {
			return nil, err
		}
		s.socket = &socket{Conn: c, onClose: s.end}
		return s.socket, nil
	}
	amqpURL, err := c.url()
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	conn, err := rabbitmq.NewConn(amqpURL,
		rabbitmq.WithConnectionOptionsLogger(s.log),
		rabbitmq.WithConnectionOptionsConfig(rabbitmq.Config(cfg)))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	s.conn = conn
	return s, nil
}

// closeWithTimeout calls a close function of the client library, which may block if the
// broker does not respond. It returns after closeTimeout at the latest.
func closeWithTimeout(closeFunc func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		closeFunc()
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
	}
}

func clientConfig(name string) amqp.Config {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(name)
	return amqp.Config{Heartbeat: heartbeat, Properties: properties, Dial: amqp.DefaultDial(dialTimeout)}
}
