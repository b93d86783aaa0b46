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
	respond func(m events.Message, before int) error

	mu        sync.Mutex
	published []events.Message
}

func (r *recorder) Publish(_ context.Context, messages []events.Message) []error {
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

func (r *recorder) messages() []events.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.published)
}

// events returns the events of all messages.
func (r *recorder) events() []events.Envelope {
	var all []events.Envelope
	for _, m := range r.messages() {
		all = append(all, decoded(m)...)
	}
	return all
}

func (r *recorder) subjects() []string { return subjects(r.events()) }

// decoded returns the events of a message. An invalid event is returned as its zero value.
func decoded(m events.Message) []events.Envelope {
	bodies, err := events.Split(m.Body)
	if err != nil {
		return []events.Envelope{{}}
	}
	all := make([]events.Envelope, len(bodies))
	for i, body := range bodies {
		all[i], _ = events.Parse(body)
	}
	return all
}

func subjects(all []events.Envelope) []string {
	var subjects []string
	for _, e := range all {
		subjects = append(subjects, e.Subject)
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

func (k *killer) Publish(ctx context.Context, messages []events.Message) []error {
	errs := k.recorder.Publish(ctx, messages)
	k.once.Do(func() {
		_, k.err = k.pool.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle in transaction'`)
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

func (s *slow) Publish(ctx context.Context, messages []events.Message) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var batch []string
	errs := make([]error, len(messages))
	for _, m := range messages {
		batch = append(batch, subjects(decoded(m))...)
	}
	s.batches = append(s.batches, batch)
	if len(s.batches) == 1 {
		<-ctx.Done()
		for i := s.confirms; i < len(errs); i++ {
			errs[i] = ctx.Err()
		}
	}
	return errs
}
