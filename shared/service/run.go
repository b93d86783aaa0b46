package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Part is a long-running component of a service.
type Part struct {
	Name string
	// Run works until ctx is done, then completes the work in flight and returns. It must
	// not assume that other parts are ready. A return before ctx is done, with or without
	// an error, shuts down the service. The drain timeout bounds the time that Run takes
	// after ctx is done.
	//
	// A panic ends the process at once: the state of the part is unknown, and the shop
	// recovers from a crash. Panics caused by a single request, message or client are
	// recovered inside the part.
	Run func(ctx context.Context) error
}

// Run starts all parts together, each on its own goroutine, and waits. None waits for
// another to be ready. When ctx is done or a part returns, Run stops the parts in reverse
// order, each after the next part in the list has returned. If this takes longer than drain,
// Run cancels the remaining parts and returns without waiting for them. It returns nil after
// a clean stop. Otherwise it returns the first failure, joined with an error for the part
// that did not stop in time.
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
		// The context of a part outlives ctx: the end of ctx starts the shutdown but does
		// not interrupt work in flight.
		partCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{Part: p, stop: stop, done: make(chan struct{})}
		all = append(all, r)
		go func() {
			defer func() { close(r.done); ended <- r }()
			r.err = p.Run(partCtx)
		}()
	}
	log.InfoContext(ctx, "started")

	var failure error
	select {
	case <-ctx.Done():
		log.InfoContext(ctx, "stopping", "drain_timeout", drain.String())
	case r := <-ended:
		err := r.err
		if err == nil {
			err = errEarly
		}
		failure = fmt.Errorf("%s: %w", r.Name, err)
		log.ErrorContext(ctx, "part failed, shutting down", "part", r.Name, "error", err)
	}

	deadline := time.NewTimer(drain)
	defer deadline.Stop()
	timedOut := false
	for _, r := range slices.Backward(all) {
		r.stop()
		if timedOut {
			continue
		}
		select {
		case <-r.done:
			if failure == nil && r.err != nil && !errors.Is(r.err, context.Canceled) {
				failure = fmt.Errorf("%s: %w", r.Name, r.err)
			}
		case <-deadline.C:
			timedOut = true
			failure = errors.Join(failure, fmt.Errorf("%s did not stop within %s", r.Name, drain))
		}
	}
	log.InfoContext(ctx, "stopped", "clean", failure == nil)
	return failure
}

var errEarly = errors.New("returned before shutdown")
