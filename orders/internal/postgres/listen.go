package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gozon/orders/internal/live"
	"gozon/shared/delivery/database"
)

// Channel is the PostgreSQL channel that is notified of every change of an order, in the
// transaction of the change. The payload is "user_id id,user_id id,…". Every role of the
// database can send such notifications, so the listener only learns what to read.
const Channel = "orders_changed"

const (
	connectTimeout = 15 * time.Second // of all hosts in the URL, each of which has 3 s
	pingTimeout    = 3 * time.Second
	pingInterval   = 30 * time.Second
	reconnectFirst = 100 * time.Millisecond
	reconnectMax   = 5 * time.Second
	// malformedInterval is the minimum time between two log lines about malformed notifications,
	// which any role of the database can send.
	malformedInterval = 10 * time.Second
)

// Listener receives the changes of orders made by all replicas, on a separate connection. It
// implements live.Source.
type Listener struct {
	cfg database.Config
	log *slog.Logger
}

// NewListener returns a listener that connects when it is run.
func NewListener(cfg database.Config, log *slog.Logger) *Listener { return &Listener{cfg, log} }

// Run calls deliver with every change until ctx is done. It calls listening each time it has
// started to listen. When the connection is lost, it calls lost with the error and
// reconnects. It misses the changes in between.
func (l *Listener) Run(ctx context.Context, listening func(), lost func(error), deliver func([]live.Changed)) {
	wait := reconnectFirst
	for ctx.Err() == nil {
		err := l.listen(ctx, func() { wait = reconnectFirst; listening() }, deliver)
		if ctx.Err() != nil {
			return
		}
		lost(err)
		l.log.WarnContext(ctx, "live: connection lost, reconnecting", "error", err, "retry_in", wait.String())
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		wait = min(2*wait, reconnectMax)
	}
}

func (l *Listener) listen(ctx context.Context, listening func(), deliver func([]live.Changed)) error {
	dialing, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := database.Connect(dialing, l.cfg)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(dialing, "LISTEN "+Channel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	listening()
	var logged time.Time
	for {
		n, err := next(ctx, conn)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		if n == nil {
			continue
		}
		changed, err := parseChanged(n.Payload)
		if err != nil {
			if time.Since(logged) > malformedInterval {
				logged = time.Now()
				l.log.ErrorContext(ctx, "live: malformed notification, the next reconciliation delivers its orders", "error", err)
			}
			continue
		}
		deliver(changed)
	}
}

// next waits for a notification. After pingInterval without one it pings the server, because
// a host that disappeared does not close its connections. It returns nil if the ping succeeds.
func next(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	waiting, cancel := context.WithTimeout(ctx, pingInterval)
	defer cancel()
	n, err := conn.WaitForNotification(waiting)
	if err == nil || ctx.Err() != nil || waiting.Err() == nil {
		return n, err
	}
	pinging, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return nil, conn.Ping(pinging)
}

func parseChanged(payload string) ([]live.Changed, error) {
	var all []live.Changed
	for entry := range strings.SplitSeq(payload, ",") {
		user, id, _ := strings.Cut(entry, " ")
		var c live.Changed
		var err error
		if c.UserID, err = strconv.ParseInt(user, 10, 64); err != nil {
			return nil, fmt.Errorf("notification %q: %w", entry, err)
		}
		if c.OrderID, err = uuid.Parse(id); err != nil {
			return nil, fmt.Errorf("notification %q: %w", entry, err)
		}
		all = append(all, c)
	}
	return all, nil
}
