package batch_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/delivery/batch"
)

// locked wraps s.do. While held is true, every set that contains item fails with errBusy,
// as in a database in which another transaction holds a lock on the row.
func locked(s *fakeStore, item int, held *atomic.Bool) func(context.Context, []int) ([]string, error) {
	return func(ctx context.Context, items []int) ([]string, error) {
		if held.Load() && slices.Contains(items, item) {
			if batch.MayWait(ctx) {
				<-time.After(100 * time.Millisecond) // fake time
			}
			return nil, errBusy
		}
		return s.do(ctx, items)
	}
}

func TestOnlyTheFirstAttemptWaitsForLocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		items := make([]int, 256)
		for i := range items {
			items[i] = i
		}
		s := &fakeStore{duration: time.Millisecond}
		start := time.Now()
		for i, r := range batch.Isolate(t.Context(), items, locked(s, 200, &held), isDown) {
			require.Equal(t, i == 200, errors.Is(r.Err, errBusy))
		}
		require.Len(t, s.done, 255)
		require.Len(t, s.batches, 8, "neighbors are processed in halves, not one by one")
		require.Equal(t, 108*time.Millisecond, time.Since(start))
	})
}

func TestBusyItemIsRetriedWithoutBlockingOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		s := &fakeStore{duration: time.Millisecond}
		b, stop := runFunc(locked(s, 1, &held), 10)
		defer stop()
		var busy errgroup.Group
		busy.Go(func() error { _, err := b.Do(t.Context(), 1); return err })
		synctest.Wait()
		for i := range 100 {
			start := time.Now()
			_, err := b.Do(t.Context(), 100+i)
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(start), 101*time.Millisecond)
		}
		require.NotContains(t, s.done, 1)
		held.Store(false)
		require.NoError(t, busy.Wait())
		require.Equal(t, 1, s.done[1])
	})
}

func TestGivingUpOnABusyItemReportsNotStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		s := &fakeStore{}
		b, stop := runFunc(locked(s, 1, &held), 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second+25*time.Millisecond)
		defer cancel()
		_, err := b.Do(ctx, 1)
		require.ErrorIs(t, err, batch.ErrNotStarted)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		held.Store(false)
		_, err = b.Do(t.Context(), 2)
		require.NoError(t, err)
		<-time.After(time.Second)
		stop()
		require.Equal(t, map[int]int{2: 1}, s.done, "an abandoned item must not be processed")
	})
}

// The caller gives up during an attempt and gets the outcome of that attempt.
func TestGivingUpWaitsBrieflyForAnAttemptInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		b, stop := runFunc(locked(&fakeStore{}, 1, &held), 10)
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := b.Do(ctx, 1) // the attempt waits for the lock for 100 ms
		require.ErrorIs(t, err, batch.ErrNotStarted)
		require.ErrorIs(t, err, errBusy)
	})
}

func TestManyBusyItemsBarelyDelayOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		s := &fakeStore{duration: time.Millisecond}
		do := func(ctx context.Context, items []int) ([]string, error) {
			if held.Load() && slices.ContainsFunc(items, func(i int) bool { return i < 1000 }) {
				<-time.After(time.Millisecond)
				return nil, errBusy
			}
			return s.do(ctx, items)
		}
		b, stop := runFunc(do, 256)
		defer stop()
		var busy errgroup.Group
		for i := range 500 {
			busy.Go(func() error { _, err := b.Do(t.Context(), i); return err })
		}
		<-time.After(5 * time.Second)
		for i := range 20 {
			start := time.Now()
			_, err := b.Do(t.Context(), 1000+i)
			require.NoError(t, err)
			require.Less(t, time.Since(start), 100*time.Millisecond)
		}
		held.Store(false)
		require.NoError(t, busy.Wait())
		require.Len(t, s.done, 520)
	})
}

func TestStopReportsBusyItemsAsNotStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		b, stop := runFunc(locked(&fakeStore{}, 1, &held), 10)
		var busy errgroup.Group
		busy.Go(func() error { _, err := b.Do(t.Context(), 1); return err })
		<-time.After(time.Second)
		stop()
		require.ErrorIs(t, busy.Wait(), batch.ErrNotStarted)
	})
}
