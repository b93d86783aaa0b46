package deliverytest

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"

	"gozon/shared/contract/events"
)

var errDown = errors.New("broker down")

// recorder is a broker that records the messages. It confirms all of them, unless respond
// is set: respond gets a message and how often it was published before.
type recorder struct {
	respond func(e events.Envelope, before int) error

	mu        sync.Mutex
	published []events.Envelope
}

func (r *recorder) Publish(_ context.Context, messages []events.Envelope) []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := make([]error, len(messages))
	for i, m := range messages {
		before := 0
		for _, p := range r.published {
			if p.ID == m.ID {
				before++
			}
		}
		r.published = append(r.published, m)
		if r.respond != nil {
			errs[i] = r.respond(m, before)
		}
	}
	return errs
}

func (r *recorder) messages() []events.Envelope {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.published)
}

func (r *recorder) subjects() []string {
	var subjects []string
	for _, m := range r.messages() {
		subjects = append(subjects, m.Subject)
	}
	return subjects
}

// killer is a broker that confirms everything. Before its first confirm it terminates the
// relay's database session, so that the relay's delete and commit fail, as if the relay had
// died.
type killer struct {
	recorder
	pool *sql.DB
	once sync.Once
	err  error
}

func (k *killer) Publish(ctx context.Context, messages []events.Envelope) []error {
	errs := k.recorder.Publish(ctx, messages)
	k.once.Do(func() {
		_, k.err = k.pool.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND usename = current_user AND state = 'idle in transaction'`)
	})
	return errs
}

// killed returns the error of the first Publish.
func (k *killer) killed() error {
	k.once.Do(func() { k.err = errors.New("not published") })
	return k.err
}

// slow is a broker that confirms only the first messages of the first batch. The publisher
// waits for the other confirms until its deadline.
type slow struct {
	confirms int

	mu      sync.Mutex
	batches [][]string // subjects
}

func (s *slow) Publish(ctx context.Context, messages []events.Envelope) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	subjects, errs := make([]string, len(messages)), make([]error, len(messages))
	for i, m := range messages {
		subjects[i] = m.Subject
	}
	s.batches = append(s.batches, subjects)
	if len(s.batches) == 1 {
		<-ctx.Done()
		for i := s.confirms; i < len(errs); i++ {
			errs[i] = ctx.Err()
		}
	}
	return errs
}
