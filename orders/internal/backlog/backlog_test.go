package backlog_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gozon/orders/internal/backlog"
	"gozon/shared/service"
)

const (
	maxAge   = 5 * time.Second
	capacity = 1000 // orders that the simulated shop settles per second
	tick     = 10 * time.Millisecond
)

// outbox is an outbox with a number of rows, or an error if it is negative.
type outbox struct{ rows atomic.Int64 }

func (o *outbox) OutboxRows(_ context.Context, limit int) (int, error) {
	n := int(o.rows.Load())
	if n < 0 {
		return 0, errors.New("down")
	}
	return min(n, limit), nil
}

func newBacklog(o *outbox) *backlog.Backlog {
	return backlog.New(maxAge, 100, o, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

// shop settles orders in the order in which they were accepted.
type shop struct {
	*backlog.Backlog
	waiting []time.Time // the times of creation
	refused int
	settled int
	oldest  time.Duration // the highest age of an order when it was settled
}

// run offers orders to the shop, which settles some, both at a rate per second.
func (s *shop) run(d time.Duration, offered, settles int) {
	for range int(d / tick) {
		<-time.After(tick)
		for range offered / int(time.Second/tick) {
			if s.Admit() != nil {
				s.refused++
			} else {
				s.waiting = append(s.waiting, time.Now())
			}
		}
		for range min(settles/int(time.Second/tick), len(s.waiting)) {
			s.settled++
			s.oldest = max(s.oldest, time.Since(s.waiting[0]))
			s.Settled(s.waiting[0])
			s.waiting = s.waiting[1:]
		}
	}
}

func simulate(t *testing.T, test func(t *testing.T, s *shop)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, &shop{Backlog: newBacklog(&outbox{})}) })
}

func TestShopThatKeepsUpRefusesNothing(t *testing.T) {
	t.Parallel()
	simulate(t, func(t *testing.T, s *shop) {
		for range 10 {
			s.run(10*time.Second, capacity*9/10, capacity)
			s.run(time.Minute, 0, capacity) // idle
		}
		require.Zero(t, s.refused)
	})
}

// At four times the capacity, the shop refuses what it cannot settle, and no more. Afterwards
// it accepts orders at once, and has soon settled what it has accepted.
func TestOverload(t *testing.T) {
	t.Parallel()
	simulate(t, func(t *testing.T, s *shop) {
		s.run(time.Minute, 4*capacity, capacity)
		require.InDelta(t, 60*capacity, s.settled, 0.02*60*capacity, "it is busy all the time")
		require.Less(t, s.oldest, 3*maxAge)
		s.run(8*time.Second, 0, capacity)
		require.Empty(t, s.waiting)
		require.NoError(t, s.Admit())
	})
}

// After an outage of payments or the broker, the age of the backlog is that of the outage, and
// the shop catches up without refusing anything.
func TestOutageRefusesNothing(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{4 * time.Second, 10 * time.Second, 10 * time.Minute} {
		simulate(t, func(t *testing.T, s *shop) {
			s.run(time.Minute, capacity/2, capacity)
			s.run(outage, capacity/2, 0)
			s.run(outage+time.Minute, capacity/2, capacity)
			require.Empty(t, s.waiting)
			require.Zero(t, s.refused)
		})
	}
}

// If the shop is overloaded after the outage, too, it refuses orders and catches up.
func TestOutageUnderOverload(t *testing.T) {
	t.Parallel()
	simulate(t, func(t *testing.T, s *shop) {
		s.run(time.Minute, 2*capacity, 0)
		require.Zero(t, s.refused, "during the outage")
		s.run(4*time.Minute, 2*capacity, capacity)
		s.oldest = 0
		s.run(time.Minute, 2*capacity, capacity)
		require.Less(t, s.oldest, 3*maxAge)
	})
}

// Orders that were delayed for hours, one after another, do not stop the shop: those that were
// placed after them are settled already, or there are none.
func TestDelayedOrdersDoNotCount(t *testing.T) {
	t.Parallel()
	simulate(t, func(t *testing.T, s *shop) {
		for i := range 40 {
			s.run(time.Second, 100*max(0, i-30), capacity)
			s.Settled(time.Now().Add(-time.Hour))
		}
		require.Zero(t, s.refused)
	})
}

func TestFullOutboxRefusesOrders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &outbox{}
		b := newBacklog(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		var refusal *service.OverloadError
		for rows, refused := range []int{99: 0, 100: 1} {
			o.rows.Store(int64(rows))
			<-time.After(6 * time.Second)
			require.Equal(t, refused == 1, errors.As(b.Admit(), &refusal), rows)
		}
		require.Equal(t, "outbox_full", refusal.Reason)
		o.rows.Store(-1)
		<-time.After(6 * time.Second)
		require.ErrorIs(t, b.Admit(), refusal, "unknown: it does not change")
		o.rows.Store(0)
		<-time.After(6 * time.Second)
		require.NoError(t, b.Admit())
		cancel()
		require.NoError(t, <-ended)
	})
}
