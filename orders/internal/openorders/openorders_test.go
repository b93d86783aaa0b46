package openorders_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/orders/internal/openorders"
	"gozon/shared/service"
)

// store has open orders, which are never settled.
type store struct {
	open, newest, counts int
	err                  error
}

func (s *store) OpenOrders(_ context.Context, _ int64, newest int) (int, error) {
	s.counts, s.newest = s.counts+1, newest
	return s.open, s.err
}

// accepted places orders until one is not accepted, and returns how many were.
func (s *store) accepted(ctx context.Context, l *openorders.Limit) (n int, err error) {
	for ; err == nil; n++ {
		if err = l.Admit(ctx, 1); err == nil {
			s.open++
		}
	}
	return n - 1, err
}

// The orders are counted once for every tenth of the limit, and at most once per second while
// the user is refused.
func TestCountsAreRare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		l := openorders.New(100, s)
		n, err := s.accepted(t.Context(), l)
		var refused *service.LimitError
		require.ErrorAs(t, err, &refused)
		require.InDelta(t, 105, n, 5)
		require.LessOrEqual(t, s.counts, 11)
		require.Equal(t, 200, s.newest)

		before := s.counts
		for range 1000 {
			require.Error(t, l.Admit(t.Context(), 1))
			<-time.After(10 * time.Millisecond)
		}
		require.InDelta(t, 10, s.counts-before, 1)
		require.NoError(t, l.Admit(t.Context(), 2), "another user")

		s.open = 99
		<-time.After(time.Second)
		require.NoError(t, l.Admit(t.Context(), 1))
	})
}

func TestFewOrdersAreNotCounted(t *testing.T) {
	t.Parallel()
	s := &store{open: 1000}
	l := openorders.New(100, s)
	for user := range int64(1000) {
		for range 9 {
			require.NoError(t, l.Admit(t.Context(), user))
		}
	}
	require.Zero(t, s.counts)
}

// An order is not accepted without the count that is due.
func TestFailedCount(t *testing.T) {
	t.Parallel()
	s := &store{err: errors.New("the database is down")}
	l := openorders.New(1, s)
	for range 3 {
		require.ErrorIs(t, l.Admit(t.Context(), 1), s.err)
	}
	s.err = nil
	require.NoError(t, l.Admit(t.Context(), 1))
}

func TestNoLimit(t *testing.T) {
	t.Parallel()
	s := &store{open: 1 << 30}
	l := openorders.New(0, s)
	for range 1000 {
		require.NoError(t, l.Admit(t.Context(), 1))
	}
	require.Zero(t, s.counts)
}
