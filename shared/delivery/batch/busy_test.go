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

// locked makes l refuse every set with the item while held is set, as a database does
// while somebody else holds the item's row.
func locked(l *ledger, item int, held *atomic.Bool) func(context.Context, []int) ([]string, error) {
	return func(ctx context.Context, items []int) ([]string, error) {
		if held.Load() && slices.Contains(items, item) {
			if batch.MayWait(ctx) {
				<-time.After(100 * time.Millisecond) // in a bubble
			}
			return nil, errBusy
		}
		return l.do(ctx, items)
	}
}

func TestOnlyTheFirstAttemptWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		items := make([]int, 256)
		for i := range items {
			items[i] = i
		}
		l := &ledger{takes: time.Millisecond}
		began := time.Now()
		for i, r := range batch.Isolate(t.Context(), items, locked(l, 200, &held), isDown) {
			require.Equal(t, i == 200, errors.Is(r.Err, errBusy))
		}
		require.Len(t, l.done, 255)
		require.Len(t, l.batches, 8, "neighbors are done in halves, not one by one")
		require.Equal(t, 108*time.Millisecond, time.Since(began))
	})
}

func TestBusyItemIsRetriedAndItsNeighborsPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		l := &ledger{takes: time.Millisecond}
		b, end := runFunc(locked(l, 1, &held), 10)
		defer end()
		var busy errgroup.Group
		busy.Go(func() error { _, err := b.Do(t.Context(), 1); return err })
		synctest.Wait()
		for i := range 100 {
			began := time.Now()
			_, err := b.Do(t.Context(), 100+i)
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(began), 101*time.Millisecond)
		}
		require.NotContains(t, l.done, 1)
		held.Store(false)
		require.NoError(t, busy.Wait())
		require.Equal(t, 1, l.done[1])
	})
}

func TestCallerOfABusyItemThatGivesUpLearnsThatNothingWasDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		l := &ledger{}
		b, end := runFunc(locked(l, 1, &held), 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second+25*time.Millisecond)
		defer cancel()
		_, err := b.Do(ctx, 1)
		require.ErrorIs(t, err, batch.ErrNotStarted)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		held.Store(false)
		_, err = b.Do(t.Context(), 2)
		require.NoError(t, err)
		<-time.After(time.Second)
		end()
		require.Equal(t, map[int]int{2: 1}, l.done, "it is not done after its caller has gone")
	})
}

// The caller gives up in the middle of an attempt.
func TestAttemptThatIsUnderWayIsWaitedForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		b, end := runFunc(locked(&ledger{}, 1, &held), 10)
		defer end()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := b.Do(ctx, 1) // which waits for its lock for 100 ms
		require.ErrorIs(t, err, batch.ErrNotStarted)
		require.ErrorIs(t, err, errBusy)
	})
}

func TestManyBusyItemsDelayOthersByLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		l := &ledger{takes: time.Millisecond}
		do := func(ctx context.Context, items []int) ([]string, error) {
			if held.Load() && slices.ContainsFunc(items, func(i int) bool { return i < 1000 }) {
				<-time.After(time.Millisecond)
				return nil, errBusy
			}
			return l.do(ctx, items)
		}
		b, end := runFunc(do, 256)
		defer end()
		var busy errgroup.Group
		for i := range 500 {
			busy.Go(func() error { _, err := b.Do(t.Context(), i); return err })
		}
		<-time.After(5 * time.Second)
		for i := range 20 {
			began := time.Now()
			_, err := b.Do(t.Context(), 1000+i)
			require.NoError(t, err)
			require.Less(t, time.Since(began), 100*time.Millisecond)
		}
		held.Store(false)
		require.NoError(t, busy.Wait())
		require.Len(t, l.done, 520)
	})
}

func TestBusyItemAtTheEndWasNotDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		held.Store(true)
		b, end := runFunc(locked(&ledger{}, 1, &held), 10)
		var busy errgroup.Group
		busy.Go(func() error { _, err := b.Do(t.Context(), 1); return err })
		<-time.After(time.Second)
		end()
		require.ErrorIs(t, busy.Wait(), batch.ErrNotStarted)
	})
}
