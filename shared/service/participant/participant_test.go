package participant

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/service"
)

func load(t *testing.T, environ map[string]string) (Config, error) {
	t.Helper()
	all := map[string]string{"DATABASE_URL": "postgres://localhost/test", "AMQP_URL": "amqp://localhost/"}
	maps.Copy(all, environ)
	var cfg Config
	err := service.Load(all, &cfg)
	return cfg, err
}

func TestBatchMaxIsPositive(t *testing.T) {
	t.Parallel()
	cfg, err := load(t, nil)
	require.NoError(t, err)
	require.Equal(t, 256, cfg.BatchMax)
	cfg, err = load(t, map[string]string{"BATCH_MAX": "1"})
	require.NoError(t, err)
	require.Equal(t, 1, cfg.BatchMax)
	_, err = load(t, map[string]string{"BATCH_MAX": "0"})
	require.ErrorContains(t, err, "BATCH_MAX is 0: it must be positive")
}

// Callers that arrive while a batch is running share the next ones, at most BATCH_MAX each.
func TestBatchMaxBoundsTheBatchesOfRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &Participant{Name: "test", Metrics: prometheus.NewRegistry(), batchMax: 3, waiting: 8}
		first := make(chan struct{})
		var sizes []int
		b := Batch(p, "place", func(_ context.Context, items []int) ([]int, error) {
			<-first
			sizes = append(sizes, len(items))
			return items, nil
		})
		require.Len(t, p.parts, 1)
		ctx, cancel := context.WithCancel(t.Context())
		var run, do errgroup.Group
		run.Go(func() error { return p.parts[0].Run(ctx) })
		for i := range 8 {
			do.Go(func() error {
				_, err := b.Do(ctx, i)
				return err
			})
			synctest.Wait() // the first item is in flight, the others are waiting
		}
		close(first)
		require.NoError(t, do.Wait())
		cancel()
		require.NoError(t, run.Wait())
		require.Equal(t, []int{1, 3, 3, 1}, sizes)
	})
}
