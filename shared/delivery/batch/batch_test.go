package batch_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/delivery/batch"
)

var (
	errBad  = errors.New("bad item")
	errBusy = errors.New("locked by another transaction")
	errDown = errors.New("database down")
)

func faults() batch.Faults {
	return batch.Faults{Whole: isDown, Busy: func(err error) bool { return errors.Is(err, errBusy) }}
}

func isDown(err error) bool { return errors.Is(err, errDown) }

// fakeStore processes items and records them, like a store: a batch succeeds as a whole
// or not at all.
type fakeStore struct {
	duration time.Duration // of one batch
	fail     func(items []int) error

	mu      sync.Mutex
	done    map[int]int
	batches [][]int
}

func (s *fakeStore) do(_ context.Context, items []int) ([]string, error) {
	<-time.After(s.duration) // fake time in a synctest bubble
	if s.fail != nil {
		if err := s.fail(items); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, items)
	results := make([]string, len(items))
	for i, item := range items {
		if s.done == nil {
			s.done = map[int]int{}
		}
		s.done[item]++
		results[i] = fmt.Sprint("done ", item)
	}
	return results, nil
}

// run runs a batcher on s in a synctest bubble until stop is called.
func run(s *fakeStore, limit int) (b *batch.Batcher[int, string], stop func()) {
	return runFunc(s.do, limit)
}

func runFunc(do batch.Func[int, string], limit int) (b *batch.Batcher[int, string], stop func()) {
	b = batch.New(batch.Options[int, string]{
		Do: do, Faults: faults(),
		Max: limit, Waiting: 1000, Timeout: time.Hour, Sizes: prometheus.ObserverFunc(func(float64) {}),
	})
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = b.Run(ctx) // always nil
	}()
	return b, func() {
		cancel()
		<-stopped
	}
}

func TestSingleCallerDoesNotWaitForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, stop := run(&fakeStore{duration: time.Millisecond}, 10)
		defer stop()
		start := time.Now()
		got, err := b.Do(t.Context(), 7)
		require.NoError(t, err)
		require.Equal(t, "done 7", got)
		require.Equal(t, time.Millisecond, time.Since(start))
	})
}

func TestCallsDuringABatchShareTheNextOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{duration: time.Second}
		b, stop := run(s, 8)
		defer stop()
		var got [20]string
		var g errgroup.Group
		for i := range got {
			g.Go(func() (err error) {
				<-time.After(time.Duration(i) * time.Millisecond)
				got[i], err = b.Do(t.Context(), i)
				return err
			})
		}
		require.NoError(t, g.Wait())
		for i := range got {
			require.Equal(t, fmt.Sprint("done ", i), got[i])
		}
		var sizes []int
		for _, items := range s.batches {
			sizes = append(sizes, len(items))
		}
		require.Equal(t, []int{1, 8, 8, 3}, sizes)
	})
}

func TestBadItemFailsAlone(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func([]int) error{
		"error": func(items []int) error {
			for _, i := range items {
				if i == 3 {
					return fmt.Errorf("item %d: %w", i, errBad)
				}
			}
			return nil
		},
		"panic": func(items []int) error {
			for _, i := range items {
				if i == 3 {
					panic("three")
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &fakeStore{fail: fail}
			for i, r := range batch.Isolate(t.Context(), []int{0, 1, 2, 3, 4}, s.do, isDown) {
				if i == 3 {
					require.Error(t, r.Err)
					require.True(t, errors.Is(r.Err, errBad) || errors.Is(r.Err, batch.ErrPanic))
					continue
				}
				require.NoError(t, r.Err)
				require.Equal(t, fmt.Sprint("done ", i), r.Value)
				require.Equal(t, 1, s.done[i])
			}
		})
	}
}

func TestBatchErrorReachesEveryCaller(t *testing.T) {
	t.Parallel()
	calls := 0
	for _, r := range batch.Isolate(t.Context(), []int{1, 2, 3}, func(context.Context, []int) ([]string, error) {
		calls++
		return nil, errDown
	}, isDown) {
		require.ErrorIs(t, r.Err, errDown)
	}
	require.Equal(t, 1, calls, "the batch must not be split")
}

func TestGivingUpReportsWhetherTheItemWasStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{duration: time.Second}
		b, stop := run(s, 10)
		do := func(item int) <-chan error {
			result := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
				defer cancel()
				_, err := b.Do(ctx, item)
				result <- err
			}()
			synctest.Wait()
			return result
		}
		inFlight := do(1) // its batch starts at once
		queued := do(2)   // while item 1 is in flight
		for result, want := range map[<-chan error]error{inFlight: batch.ErrOutcomeUnknown, queued: batch.ErrNotStarted} {
			err := <-result
			require.ErrorIs(t, err, want)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		stop()
		require.Equal(t, map[int]int{1: 1}, s.done)
	})
}

func TestStopProcessesQueuedItemsAndRejectsNewOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{duration: time.Second}
		b, stop := run(s, 2)
		var g errgroup.Group
		for i := range 3 {
			g.Go(func() error {
				_, err := b.Do(t.Context(), i)
				return err
			})
			synctest.Wait()
		}
		stop()
		require.NoError(t, g.Wait())
		require.Len(t, s.done, 3)
		_, err := b.Do(t.Context(), 9)
		require.ErrorIs(t, err, batch.ErrNotStarted)
	})
}

// Callers above the limit return at once. Callers whose item is busy count, and those that have
// given up do not.
func TestWaitingCallersAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		busy.Store(true)
		b := batch.New(batch.Options[int, string]{
			Do: func(_ context.Context, items []int) ([]string, error) {
				if busy.Load() {
					return nil, errBusy
				}
				return make([]string, len(items)), nil
			},
			Faults: faults(), Max: 1, Waiting: 3, Timeout: time.Hour, Sizes: prometheus.ObserverFunc(func(float64) {}),
		})
		ctx, stop := context.WithCancel(context.Background())
		var g, gaveUp errgroup.Group
		g.Go(func() error { return b.Run(ctx) })
		callerCtx, giveUp := context.WithCancel(t.Context())
		for range 3 {
			gaveUp.Go(func() error {
				_, err := b.Do(callerCtx, 1)
				return err
			})
		}
		synctest.Wait()
		start := time.Now()
		_, err := b.Do(t.Context(), 2)
		require.ErrorIs(t, err, batch.ErrFull)
		require.Zero(t, time.Since(start))

		giveUp()
		require.ErrorIs(t, gaveUp.Wait(), batch.ErrNotStarted)
		busy.Store(false)
		_, err = b.Do(t.Context(), 3)
		require.NoError(t, err)
		stop()
		require.NoError(t, g.Wait())
	})
}

// BenchmarkSharedCommit reports the throughput of 64 callers that share commits of 1 ms,
// as a ratio to the throughput of a single caller in the same run.
func BenchmarkSharedCommit(b *testing.B) {
	rate := func(callers int) float64 {
		batcher := batch.New(batch.Options[int, string]{
			Do: func(_ context.Context, items []int) ([]string, error) {
				<-time.After(time.Millisecond)
				return make([]string, len(items)), nil
			},
			Faults: faults(), Max: 256, Waiting: 1000, Timeout: time.Minute, Sizes: prometheus.ObserverFunc(func(float64) {}),
		})
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		go func() { _ = batcher.Run(ctx) }() // always nil
		const callsEach = 50
		start := time.Now()
		var g errgroup.Group
		for range callers {
			g.Go(func() error {
				for i := range callsEach {
					if _, err := batcher.Do(ctx, i); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(b, g.Wait())
		return float64(callers*callsEach) / time.Since(start).Seconds()
	}
	for b.Loop() {
		b.ReportMetric(rate(64)/rate(1), "ratio")
	}
}
