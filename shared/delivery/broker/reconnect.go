package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	minReconnectDelay = 100 * time.Millisecond
	maxReconnectDelay = time.Second
)

// reconnector runs work that needs a connection, and reconnects with backoff when the
// work fails. It also reports readiness.
type reconnector struct {
	broker   Config
	name     string
	queue    string // that the work consumes; empty if none
	log      *slog.Logger
	notReady atomic.Pointer[string] // the reason; nil while ready
}

func newReconnector(c Config, name, queue string, log *slog.Logger) *reconnector {
	r := &reconnector{broker: c, name: name, queue: queue, log: log.With("connection", name)}
	r.setNotReady("not connected yet")
	return r
}

func (r *reconnector) setNotReady(reason string) { r.notReady.Store(&reason) }
func (r *reconnector) setReady()                 { r.notReady.Store(nil) }

// Ready returns nil while connected, and otherwise an error with the reason.
func (r *reconnector) Ready(context.Context) error {
	if reason := r.notReady.Load(); reason != nil {
		return errors.New(*reason)
	}
	return nil
}

// runSessions calls use with a new session each time the last one ends, until ctx is done.
func (r *reconnector) runSessions(ctx context.Context, use func(ctx context.Context, s *session) error) {
	r.retry(ctx, func(ctx context.Context) error {
		s, err := newSession(r.broker, r.name, r.queue, r.log)
		if err != nil {
			return err
		}
		err = use(ctx, s)
		s.end()
		closeWithTimeout(func() { _ = s.conn.Close() })
		return err
	})
}

// retry calls attempt repeatedly, with backoff, until ctx is done. An attempt that ran for
// longer than maxReconnectDelay resets the backoff.
func (r *reconnector) retry(ctx context.Context, attempt func(ctx context.Context) error) {
	delay := minReconnectDelay
	for ctx.Err() == nil {
		started := time.Now()
		err := attempt(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > maxReconnectDelay {
			delay = minReconnectDelay
		}
		r.setNotReady(fmt.Sprintf("reconnecting: %v", err))
		r.log.WarnContext(ctx, "broker: session ended, reconnecting", "error", err, "retry_in", delay.String())
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		delay = min(2*delay, maxReconnectDelay)
	}
}
