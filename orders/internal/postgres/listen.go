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

	"gozon/orders/internal/order"
	"gozon/shared/delivery/database"
)

// Channel is the PostgreSQL channel on which every change of an order is told, in the
// transaction of the change: "user_id id,user_id id,…".
const Channel = "orders_changed"

const (
	connectWithin = 3 * time.Second
	quietFor      = 30 * time.Second
	relistenFirst = 100 * time.Millisecond
	relistenMax   = 5 * time.Second
)

// Listener hears of the changes of orders, whichever replica makes them, on one
// connection of its own.
type Listener struct {
	cfg database.Config
	log *slog.Logger
}

// NewListener listens at a database; it connects when it is Run.
func NewListener(cfg database.Config, log *slog.Logger) *Listener { return &Listener{cfg, log} }

// Run tells every change to told until ctx is done, and makes a new connection when one
// is lost. What happened meanwhile is not heard: listening is called each time that it
// listens from now on, and lost with what was wrong when it no longer does.
func (l *Listener) Run(ctx context.Context, listening func(), lost func(error), told func([]order.Changed)) {
	wait := relistenFirst
	for ctx.Err() == nil {
		err := l.listen(ctx, func() { wait = relistenFirst; listening() }, told)
		if ctx.Err() != nil {
			return
		}
		lost(err)
		l.log.WarnContext(ctx, "not listening for changes of orders, will try again", "error", err, "after", wait.String())
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		wait = min(2*wait, relistenMax)
	}
}

func (l *Listener) listen(ctx context.Context, listening func(), told func([]order.Changed)) error {
	dialing, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	conn, err := database.Connect(dialing, l.cfg)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it is of no more use
	if _, err := conn.Exec(dialing, "LISTEN "+Channel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	listening()
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
			l.log.ErrorContext(ctx, "a notification cannot be read", "error", err)
			continue // the next reconciliation finds what it was about
		}
		told(changed)
	}
}

// next waits for a notification. After a while without one it asks the server whether
// it is still there, and returns nil: a host that vanished would never say so.
func next(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	waiting, cancel := context.WithTimeout(ctx, quietFor)
	defer cancel()
	n, err := conn.WaitForNotification(waiting)
	if err == nil || ctx.Err() != nil || waiting.Err() == nil {
		return n, err
	}
	asking, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	return nil, conn.Ping(asking)
}

func parseChanged(payload string) ([]order.Changed, error) {
	var all []order.Changed
	for entry := range strings.SplitSeq(payload, ",") {
		user, id, _ := strings.Cut(entry, " ")
		var c order.Changed
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
