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

func dial(amqpURL, name string, log *slog.Logger) (*session, error) {
	s := &session{down: make(chan struct{})}
	s.log = libraryLog{log, s.fail}
	cfg := clientConfig(name)
	// Both ends declare the topology before they use it: start order never matters.
	short, err := connect(amqpURL, cfg)
	if err != nil {
		return nil, err
	}
	err = short.within(short.declare)
	short.close()
	if err != nil {
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

// run makes one session after the other and hands each to use, until ctx is done.
func (l *link) run(ctx context.Context, use func(ctx context.Context, s *session) error) {
	l.retry(ctx, func(ctx context.Context) error {
		s, err := dial(l.url, l.name, l.log)
		if err != nil {
			return err
		}
		err = use(ctx, s)
		s.fail()
		closing(func() { _ = s.conn.Close() })
		return err
	})
}

// retry calls once until ctx is done, with backoff.
func (l *link) retry(ctx context.Context, once func(ctx context.Context) error) {
	wait := redialFirst
	for ctx.Err() == nil {
		began := time.Now()
		err := once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > redialMax {
			wait = redialFirst
		}
		l.missing(fmt.Sprintf("reconnecting: %v", err))
		l.log.WarnContext(ctx, "broker session ended, reconnecting", "error", err, "after", wait.String())
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		wait = min(2*wait, redialMax)
	}
}

func clientConfig(name string) amqp.Config {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(name)
	return amqp.Config{Heartbeat: heartbeat, Properties: properties, Dial: amqp.DefaultDial(dialTimeout)}
}

// libraryLog passes the client library's lines on, one level lower: what matters
// of them is said by link in the shop's own words.
//
// The library reports with Errorf, and in no other way, that the broker closed a
// channel or cancelled a consumer (because its queue was deleted, say) and that it
// starts to repair that. A session is not repaired: lost ends it.
type libraryLog struct {
	log  *slog.Logger
	lost func()
}

func (l libraryLog) line(level slog.Level, format string, args []any) {
	if ctx := context.Background(); l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "amqp", "line", fmt.Sprintf(format, args...))
	}
}

func (l libraryLog) Errorf(f string, a ...any) {
	l.line(slog.LevelInfo, f, a)
	l.lost()
}

func (l libraryLog) Fatalf(f string, a ...any) { l.line(slog.LevelError, f, a) }
func (l libraryLog) Warnf(f string, a ...any)  { l.line(slog.LevelDebug, f, a) }
func (l libraryLog) Infof(f string, a ...any)  { l.line(slog.LevelDebug, f, a) }
func (l libraryLog) Debugf(f string, a ...any) { l.line(slog.LevelDebug, f, a) }
