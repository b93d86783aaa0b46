package outboxtest

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
)

// slow is a broker that confirms only the first messages of the first batch and lets
// the publisher wait for the others until its deadline.
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

func slowBroker(t *testing.T, b *bench) {
	const n, confirmed = 500, 400
	evs, subjects := make([]events.Event, n), make([]string, n)
	for i := range evs {
		e := event()
		evs[i], subjects[i] = e, e.OrderID
	}
	b.append(t, evs...)
	p := &slow{confirms: confirmed}
	b.relay(t, p)
	b.drained(t)
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Len(t, p.batches, 2)
	require.Equal(t, subjects, p.batches[0])
	require.Equal(t, subjects[confirmed:], p.batches[1], "what was confirmed is published again")
}

func panics(t *testing.T, b *bench) {
	p := &recorder{verdict: func(_ events.Envelope, before int) error {
		if before == 0 {
			panic("at the first attempt")
		}
		return nil
	}}
	b.append(t, event())
	b.relay(t, p)
	b.drained(t)
	require.Len(t, p.seen, 2)
}
