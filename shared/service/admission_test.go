package service_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gozon/shared/service"
)

func TestLimit(t *testing.T) {
	t.Parallel()
	l := service.NewLimit(2, prometheus.NewRegistry(), nil)
	require.True(t, l.Enter())
	require.True(t, l.Enter())
	require.False(t, l.Enter())
	l.Leave()
	require.True(t, l.Enter(), "the refused request is not in flight")
}

// The first refusal for each reason is logged at once, the others at a bounded rate.
func TestRefusalsAreLoggedAtABoundedRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := service.NewRefusals(slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
		for range 3000 {
			r.Add(t.Context(), "backlog")
			<-time.After(10 * time.Millisecond)
		}
		r.Add(t.Context(), "in_flight")
		require.Equal(t, 4, strings.Count(log.String(), "\n"), log.String())
		require.Contains(t, log.String(), "reason=backlog refused=1\n")
		require.Contains(t, log.String(), "reason=backlog refused=1000\n")
		require.Contains(t, log.String(), "reason=in_flight refused=1\n")
	})
}

func TestLimitedClientsAreLoggedAtABoundedRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		l := service.NewLimited(slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
		for i := range 1001 {
			l.Add(t.Context(), "writes", fmt.Sprint("client ", i))
			<-time.After(10 * time.Millisecond)
		}
		require.Equal(t, 2, strings.Count(log.String(), "\n"), log.String())
		require.Contains(t, log.String(), "limit=writes refused=1 last=\"client 0\"\n")
		require.Contains(t, log.String(), "limit=writes refused=1000 last=\"client 1000\"\n")
	})
}
