package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gozon/shared/batch"
	"gozon/shared/events"
)

// Publisher sends messages and waits for the broker's confirms. It returns one
// error for each message, in order; nil means confirmed. ctx carries a deadline.
type Publisher interface {
	Publish(ctx context.Context, messages []events.Envelope) []error
}

const (
	relayBatch = 500
	// A batch has three steps: claim, publish, and delete with commit. Those before the
	// last have a deadline of their own, so that it always has time left: what a slow
	// broker has confirmed by then is deleted. With one deadline for all, it would be
	// published again in every round, without progress.
	stepTimeout  = 5 * time.Second
	relayTimeout = 3 * stepTimeout
	pollEvery    = time.Second // the net below Wake
	retryFirst   = 100 * time.Millisecond
	retryMax     = 2 * time.Second
)

// Relay publishes what stands in an outbox. Any number of relays may work on one
// table, in any number of processes.
type Relay struct {
	outbox    Outbox
	db        *sql.DB
	publisher Publisher
	log       *slog.Logger
	wake      chan struct{}
	sizes     prometheus.Observer
}

// NewRelay makes the relay and registers its metrics; it publishes nothing until
// it is Run.
func NewRelay(o Outbox, db *sql.DB, p Publisher, log *slog.Logger, reg prometheus.Registerer) *Relay {
	reg.MustRegister(newCollector(o, db))
	return &Relay{outbox: o, db: db, publisher: p, log: log, wake: make(chan struct{}, 1), sizes: batch.NewSizes(reg, "relay")}
}

// Wake tells the relay that rows were committed. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

// Run publishes until ctx is done, then makes one last attempt to empty the
// table and returns. Failures are retried for ever: the rows stay.
func (r *Relay) Run(ctx context.Context) error {
	retry := retryFirst
	for {
		n, err := r.guarded(context.WithoutCancel(ctx))
		wait, wake := pollEvery, r.wake
		switch {
		case err != nil:
			r.log.WarnContext(ctx, "events not published, will try again", "error", err, "after", retry.String())
			// Not woken by new rows: they would only knock on the same closed door.
			wait, wake = retry, nil
			retry = min(2*retry, retryMax)
		case n == relayBatch && ctx.Err() == nil:
			continue
		default:
			retry = retryFirst
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

// flush publishes what is left at the end. What it cannot publish stays in the
// table for the next start or for another replica.
func (r *Relay) flush(ctx context.Context) error {
	for {
		n, err := r.guarded(ctx)
		if err != nil {
			r.log.WarnContext(ctx, "events left in the outbox", "error", err)
			return nil
		}
		if n < relayBatch {
			return nil
		}
	}
}

// guarded is once, and survives its panics: a row that made one would end every replica.
func (r *Relay) guarded(ctx context.Context) (n int, err error) {
	err = batch.Guard(func() error {
		n, err = r.once(ctx)
		return err
	})
	return n, err
}

// once publishes one batch and says how many rows it found.
func (r *Relay) once(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, relayTimeout)
	defer cancel()
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("relay: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit this does nothing

	messages, err := r.claim(ctx, tx)
	if err != nil || len(messages) == 0 {
		return 0, err
	}
	r.sizes.Observe(float64(len(messages)))
	at := time.Now().UTC().Truncate(time.Microsecond)
	for i := range messages {
		messages[i].PublishedAt = at
	}
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
		if err := r.outbox.delete(ctx, tx, confirmed); err != nil {
			return 0, err
		}
		if err := tx.Commit(); err != nil {
			return 0, fmt.Errorf("relay: %w", err)
		}
	}
	if len(failures) > 0 {
		return len(messages), fmt.Errorf("%d of %d messages not confirmed: %w", len(failures), len(messages), failures[0])
	}
	return len(messages), nil
}

func (r *Relay) claim(ctx context.Context, tx *sql.Tx) ([]events.Envelope, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return r.outbox.claimed(ctx, tx, relayBatch)
}

func (r *Relay) publish(ctx context.Context, messages []events.Envelope) []error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return r.publisher.Publish(ctx, messages)
}

// collector reads the depth of the outbox and the age of its oldest row when it
// is scraped; nothing is counted on the hot path.
type collector struct {
	outbox     Outbox
	db         *sql.DB
	depth, age *prometheus.Desc
}

func newCollector(o Outbox, db *sql.DB) collector {
	return collector{
		outbox: o, db: db,
		depth: prometheus.NewDesc("outbox_rows", "Events that wait to be published.", nil, nil),
		age:   prometheus.NewDesc("outbox_oldest_age_seconds", "Age of the oldest event that waits.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.depth; ch <- c.age }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var depth, age float64
	if err := c.db.QueryRowContext(ctx, c.outbox.depthAndAge).Scan(&depth, &age); err != nil {
		ch <- prometheus.NewInvalidMetric(c.depth, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(c.depth, prometheus.GaugeValue, depth)
	ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, age)
}
