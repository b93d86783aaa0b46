package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Part is one long-running piece of a service.
type Part struct {
	Name string
	// Run works until ctx is done, then finishes what it has in hand and returns.
	// An error before that brings the whole service down. What it still does
	// after ctx is done is bounded by the drain timeout. A panic ends the process at
	// once, as a crash does: its state is unknown, and everything recovers from a crash.
	// What one request, message or client can make panic is recovered below the part.
	Run func(ctx context.Context) error
}

// Run starts the parts in order and waits. When ctx is done, or one part
// returns, the parts are stopped in reverse order, each after the one behind it
// has returned. It returns the first failure, or nil after a clean stop.
func Run(ctx context.Context, log *slog.Logger, drain time.Duration, parts ...Part) error {
	type running struct {
		Part
		stop context.CancelFunc
		done chan struct{}
		err  error
	}
	var all []*running
	ended := make(chan *running, len(parts))
	for _, p := range parts {
		// Each part has a context of its own that outlives ctx: the end of ctx is
		// the signal to begin the stop, not to drop what is in hand.
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{Part: p, stop: stop, done: make(chan struct{})}
		all = append(all, r)
		go func() {
			defer func() { close(r.done); ended <- r }()
			r.err = p.Run(own)
		}()
	}
	log.InfoContext(ctx, "started")

	var failure error
	select {
	case <-ctx.Done():
		log.InfoContext(ctx, "stopping", "drain_timeout", drain.String())
	case r := <-ended:
		failure = fmt.Errorf("%s ended: %w", r.Name, cmpErr(r.err, errEarly))
		log.ErrorContext(ctx, "a part ended", "part", r.Name, "error", failure)
	}

	deadline := time.NewTimer(drain)
	defer deadline.Stop()
	late := false
	for _, r := range slices.Backward(all) {

		r.stop()
		if late {
			continue
		}
		select {
		case <-r.done:
			if failure == nil && r.err != nil && !errors.Is(r.err, context.Canceled) {
				failure = fmt.Errorf("%s: %w", r.Name, r.err)
			}
		case <-deadline.C:
			late = true
			failure = errors.Join(failure, fmt.Errorf("%s did not stop within %s", r.Name, drain))
		}
	}
	log.InfoContext(ctx, "stopped", "clean", failure == nil)
	return failure
}

var errEarly = errors.New("returned while the service was running")

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
