package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/batch"
	"gozon/shared/delivery/database"
)

// Publisher publishes messages and waits for the broker's confirms until ctx is done. It
// returns one error per message, in order; nil means confirmed.
type Publisher interface {
	Publish(ctx context.Context, messages []events.Message) []error
}

const (
	relayBatch = 100 // rows; the memory that they need is bounded by maxMessage
	// A batch has three steps: claim, publish, and delete with commit. The first two have
	// their own deadlines, so that the last always has time left to delete the messages that
	// a slow broker has confirmed. With a single deadline for all steps, the same rows would be
	// published again in every round, without progress.
	stepTimeout  = 5 * time.Second
	relayTimeout = 3 * stepTimeout
	pollEvery    = time.Second // finds rows of a process that died before it woke its relay
	retryFirst   = 100 * time.Millisecond
	retryMax     = time.Second
)

// Relay publishes the events in the outbox of a [Store]. Any number of relays, in any
// number of processes, may work on the same table.
type Relay struct {
	store     *Store
	publisher Publisher
	log       *slog.Logger
	sizes     prometheus.Observer
}

// NewRelay registers the metrics of the outbox. Nothing is published before [Relay.Run].
func (s *Store) NewRelay(p Publisher, log *slog.Logger, reg prometheus.Registerer) *Relay {
	reg.MustRegister(newCollector(s))
	return &Relay{store: s, publisher: p, log: log, sizes: batch.NewSizes(reg, "relay")}
}

// Run publishes until ctx is done, then makes one last attempt to empty the outbox. A
// failure is logged and retried with backoff; the rows stay in the outbox.
func (r *Relay) Run(ctx context.Context) error {
	backoff := retryFirst
	for {
		n, err := r.publishBatch(context.WithoutCancel(ctx))
		wait, wake := pollEvery, r.store.emitted
		switch {
		case err != nil:
			r.log.WarnContext(ctx, "relay: publish failed, retrying", "error", err, "retry_in", backoff.String())
			wait, wake = backoff, nil // ignore wake-ups while backing off
			backoff = min(2*backoff, retryMax)
		case n == relayBatch && ctx.Err() == nil:
			backoff = retryFirst
			continue
		default:
			backoff = retryFirst
		}
		timer := time.NewTimer(wait)
		select {
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return r.flush(context.WithoutCancel(ctx))
		}
		timer.Stop()
	}
}

// flush publishes the remaining events on shutdown. Events that cannot be published stay in
// the outbox for the next start or for another replica.
func (r *Relay) flush(ctx context.Context) error {
	for {
		n, err := r.publishBatch(ctx)
		if err != nil {
			r.log.WarnContext(ctx, "relay: publish failed on shutdown, events stay in the outbox", "error", err)
			return nil
		}
		if n < relayBatch {
			return nil
		}
	}
}

// publishBatch publishes one batch and returns how many rows it found. It recovers from
// panics: a row that causes one would otherwise crash every replica.
func (r *Relay) publishBatch(ctx context.Context) (n int, err error) {
	err = batch.Guard(func() error {
		n, err = r.publishClaimed(ctx)
		return err
	})
	return n, err
}

func (r *Relay) publishClaimed(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, relayTimeout)
	defer cancel()
	tx := r.store.DB.Begin()
	defer tx.Rollback(ctx) // a no-op after the commit

	messages, err := r.claim(ctx, tx)
	if err != nil || len(messages) == 0 {
		return 0, err
	}
	r.sizes.Observe(float64(len(messages)))
	confirmed := make([]string, 0, len(messages))
	var failures []error
	for i, err := range r.publish(ctx, messages) {
		if err != nil {
			failures = append(failures, err)
		} else {
			confirmed = append(confirmed, messages[i].ID)
		}
	}
	if len(confirmed) > 0 {
		if err := r.store.outbox.delete(tx, confirmed); err != nil {
			return 0, err
		}
		if err := tx.Commit(ctx); err != nil {
			return 0, fmt.Errorf("relay: %w", err)
		}
	}
	if len(failures) > 0 {
		return len(messages), fmt.Errorf("%d of %d messages not confirmed: %w", len(failures), len(messages), failures[0])
	}
	return len(messages), nil
}

func (r *Relay) claim(ctx context.Context, tx *database.Tx) ([]events.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return r.store.outbox.claimed(ctx, tx, relayBatch, time.Now().UTC().Truncate(time.Microsecond))
}

func (r *Relay) publish(ctx context.Context, messages []events.Message) []error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return r.publisher.Publish(ctx, messages)
}
