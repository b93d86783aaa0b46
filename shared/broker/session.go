package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	rabbitmq "github.com/wagslane/go-rabbitmq"
)

// Config is read from the environment; embed it in a service's configuration.
type Config struct {
	AMQPURL         string        `env:"AMQP_URL,notEmpty" usage:"amqp://user:password@host:5672/vhost"`
	DeadLetterAfter time.Duration `env:"DEAD_LETTER_AFTER" envDefault:"5m" usage:"how long a message that fails by itself is retried"`
}

// Validate reports a URL that cannot work, without showing the password.
func (c Config) Validate() error {
	if u, err := url.Parse(c.AMQPURL); err != nil || u.Scheme != "amqp" && u.Scheme != "amqps" || u.Host == "" {
		return errors.New("AMQP_URL is not an AMQP URL")
	}
	if c.DeadLetterAfter <= 0 {
		return fmt.Errorf("DEAD_LETTER_AFTER is %s: it must be positive", c.DeadLetterAfter)
	}
	return nil
}

// ErrNotConnected is the answer while there is no session; one is being made.
var ErrNotConnected = errors.New("not connected to the broker")

const (
	redialFirst = 100 * time.Millisecond
	redialMax   = 2 * time.Second
	closeWithin = 2 * time.Second
)

// session is one connection and what tells its end.
type session struct {
	conn   *rabbitmq.Conn
	socket *socket // below conn
	log    rabbitmq.Logger
	down   chan struct{} // closed when the connection is of no more use
	once   sync.Once
}

// fail ends the session; its owner then makes a new one.
func (s *session) fail() { s.once.Do(func() { close(s.down) }) }

func dialConfig(name string) amqp.Config {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(name)
	return amqp.Config{Heartbeat: heartbeat, Properties: properties, Dial: amqp.DefaultDial(dialTimeout)}
}

func dial(amqpURL, name string, log *slog.Logger) (*session, error) {
	s := &session{down: make(chan struct{}), log: libraryLog{log}}
	cfg := dialConfig(name)
	if err := declare(amqpURL, cfg); err != nil {
		return nil, err
	}
	cfg.Dial = func(network, addr string) (net.Conn, error) {
		select {
		case <-s.down:
			return nil, errors.New("the session has ended") // the library's own reconnect
		default:
		}
		c, err := amqp.DefaultDial(dialTimeout)(network, addr)
		if err != nil {
			return nil, err
		}
		s.socket = &socket{Conn: c, closed: s.fail}
		return s.socket, nil
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

// closing runs the library's closing calls, which may wait for a broker that no
// longer answers, and stops waiting for them after a moment.
func closing(calls ...func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, call := range calls {
			call()
		}
	}()
	select {
	case <-done:
	case <-time.After(closeWithin):
	}
}

// link keeps a session alive: it makes one, hands it to use, and makes the next
// when use has returned. It knows for readiness how that goes.
type link struct {
	url, name string
	log       *slog.Logger
	state     atomic.Pointer[string] // nil while connected
}

func newLink(amqpURL, name string, log *slog.Logger) *link {
	l := &link{url: amqpURL, name: name, log: log.With("connection", name)}
	l.missing("not connected yet")
	return l
}

func (l *link) missing(why string) { l.state.Store(&why) }
func (l *link) connected()         { l.state.Store(nil) }

// Ready is nil while there is a session, and says what is wrong otherwise.
func (l *link) Ready(context.Context) error {
	if why := l.state.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

func (l *link) run(ctx context.Context, use func(ctx context.Context, s *session) error) {
	wait := redialFirst
	for ctx.Err() == nil {
		began := time.Now()
		s, err := dial(l.url, l.name, l.log)
		if err == nil {
			err = use(ctx, s)
			s.fail()
			closing(func() { _ = s.conn.Close() })
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > redialMax {
			wait = redialFirst
		}
		l.missing("reconnecting")
		l.log.WarnContext(ctx, "no session with the broker, making a new one", "error", err, "after", wait.String())
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		wait = min(2*wait, redialMax)
	}
}

// libraryLog passes the client library's lines on, one level lower: what matters
// of them is said by link in the shop's own words.
type libraryLog struct{ log *slog.Logger }

func (l libraryLog) line(level slog.Level, format string, args []any) {
	if ctx := context.Background(); l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "amqp", "line", fmt.Sprintf(format, args...))
	}
}

func (l libraryLog) Fatalf(f string, a ...any) { l.line(slog.LevelError, f, a) }
func (l libraryLog) Errorf(f string, a ...any) { l.line(slog.LevelInfo, f, a) }
func (l libraryLog) Warnf(f string, a ...any)  { l.line(slog.LevelDebug, f, a) }
func (l libraryLog) Infof(f string, a ...any)  { l.line(slog.LevelDebug, f, a) }
func (l libraryLog) Debugf(f string, a ...any) { l.line(slog.LevelDebug, f, a) }
