package batch_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	errBusy = errors.New("locked by somebody else")
	errDown = errors.New("database down")
)

func faults() batch.Faults {
	return batch.Faults{Whole: isDown, Busy: func(err error) bool { return errors.Is(err, errBusy) }}
}

func isDown(err error) bool { return errors.Is(err, errDown) }

// ledger does items and remembers which were done, as a store would: a batch is
// done as a whole or not at all.
type ledger struct {
	takes time.Duration
	fail  func(items []int) error

	mu      sync.Mutex
	done    map[int]int
	batches [][]int
}

func (l *ledger) do(_ context.Context, items []int) ([]string, error) {
	<-time.After(l.takes) // in a bubble: its clock, not ours
	if l.fail != nil {
		if err := l.fail(items); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches = append(l.batches, items)
	results := make([]string, len(items))
	for i, item := range items {
		if l.done == nil {
			l.done = map[int]int{}
		}
		l.done[item]++
		results[i] = fmt.Sprint("did ", item)
	}
	return results, nil
}

// run runs a batcher over l inside a bubble until end is called.
func run(l *ledger, limit int) (b *batch.Batcher[int, string], end func()) {
	return runFunc(l.do, limit)
}

func runFunc(do batch.Func[int, string], limit int) (b *batch.Batcher[int, string], end func()) {
	b = batch.New(batch.Options[int, string]{
		Do: do, Faults: faults(),
		Max: limit, Timeout: time.Hour, Sizes: prometheus.ObserverFunc(func(float64) {}),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Run(ctx) // it returns nil
	}()
	return b, func() {
		cancel()
		<-ended
	}
}

func TestLoneCallerWaitsForNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, end := run(&ledger{takes: time.Millisecond}, 10)
		defer end()
		began := time.Now()
		got, err := b.Do(t.Context(), 7)
		require.NoError(t, err)
		require.Equal(t, "did 7", got)
		require.Equal(t, time.Millisecond, time.Since(began))
	})
}

func TestCallersThatArriveMeanwhileShareTheNextBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{takes: time.Second}
		b, end := run(l, 8)
		defer end()
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
			require.Equal(t, fmt.Sprint("did ", i), got[i])
		}
		var sizes []int
		for _, items := range l.batches {
			sizes = append(sizes, len(items))
		}
		require.Equal(t, []int{1, 8, 8, 3}, sizes)
	})
}

func TestBadItemFailsAlone(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func([]int) error{
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
			l := &ledger{fail: fault}
			for i, r := range batch.Isolate(t.Context(), []int{0, 1, 2, 3, 4}, l.do, isDown) {
				if i == 3 {
					require.Error(t, r.Err)
					require.True(t, errors.Is(r.Err, errBad) || errors.Is(r.Err, batch.ErrPanic))
					continue
				}
				require.NoError(t, r.Err)
				require.Equal(t, fmt.Sprint("did ", i), r.Value)
				require.Equal(t, 1, l.done[i])
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
	require.Equal(t, 1, calls, "it is no item's fault: not done in parts")
}

func TestCallerThatGivesUpLearnsWhatIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{takes: time.Second}
		b, end := run(l, 10)
		ask := func(item int) <-chan error {
			answer := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
				defer cancel()
				_, err := b.Do(ctx, item)
				answer <- err
			}()
			synctest.Wait()
			return answer
		}
		taken := ask(1)  // at once, and given up in the middle
		queued := ask(2) // given up while 1 is being done
		for answer, want := range map[<-chan error]error{taken: batch.ErrOutcomeUnknown, queued: batch.ErrNotStarted} {
			err := <-answer
			require.ErrorIs(t, err, want)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		end()
		require.Equal(t, map[int]int{1: 1}, l.done)
	})
}

func TestEndDoesWhatIsQueuedAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{takes: time.Second}
		b, end := run(l, 2)
		var g errgroup.Group
		for i := range 3 {
			g.Go(func() error {
				_, err := b.Do(t.Context(), i)
				return err
			})
			synctest.Wait()
		}
		end()
		require.NoError(t, g.Wait())
		require.Len(t, l.done, 3)
		_, err := b.Do(t.Context(), 9)
		require.ErrorIs(t, err, batch.ErrNotStarted)
	})
}

// BenchmarkSharedCommit: what 64 callers gain from sharing a commit of 1 ms, as a ratio
// to one after the other in the same run.
func BenchmarkSharedCommit(b *testing.B) {
	rate := func(callers int) float64 {
		batcher := batch.New(batch.Options[int, string]{
			Do: func(_ context.Context, items []int) ([]string, error) {
				<-time.After(time.Millisecond)
				return make([]string, len(items)), nil
			},
			Faults: faults(), Max: 256, Timeout: time.Minute, Sizes: prometheus.ObserverFunc(func(float64) {}),
		})
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		go func() { _ = batcher.Run(ctx) }() // it returns nil
		const each = 50
		began := time.Now()
		var g errgroup.Group
		for range callers {
			g.Go(func() error {
				for i := range each {
					if _, err := batcher.Do(ctx, i); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(b, g.Wait())
		return float64(callers*each) / time.Since(began).Seconds()
	}
	for b.Loop() {
		b.ReportMetric(rate(64)/rate(1), "ratio")
	}
}
