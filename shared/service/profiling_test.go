package service_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/service"
)

// Profiles are served on the port of the metrics and only if PPROF is set. The public port
// never serves them.
func TestProfilesAreServedOnTheMetricsPortOnly(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]int{"": http.StatusNotFound, "false": http.StatusNotFound, "true": http.StatusOK} {
		t.Run("PPROF="+value, func(t *testing.T) {
			t.Parallel()
			environ := map[string]string{"SECRET": "x", "HTTP_ADDR": "127.0.0.1:0", "METRICS_ADDR": "localhost:0"}
			if value != "" {
				environ["PPROF"] = value
			}
			var cfg config
			require.NoError(t, service.Load(environ, &cfg))
			api, metrics, err := cfg.Service.Listen(t.Context())
			require.NoError(t, err)
			reg, health := service.NewRegistry(), &service.Health{}
			engine := service.NewEngine(discard, reg, health)
			ctx, cancel := context.WithCancel(t.Context())
			var running errgroup.Group
			running.Go(func() error {
				return service.Run(ctx, discard, time.Minute, cfg.Service.ServeMetrics(metrics, reg), cfg.Service.ServeAPI(api, engine, health, reg))
			})
			for _, path := range []string{"/debug/pprof/heap", "/debug/pprof/goroutine?debug=1", "/debug/pprof/profile?seconds=1"} {
				require.Equal(t, want, status(t, "http://"+metrics.Addr().String()+path), path)
				require.Equal(t, http.StatusNotFound, status(t, "http://"+api.Addr().String()+path), path)
			}
			require.Equal(t, http.StatusOK, status(t, "http://"+metrics.Addr().String()+"/metrics"))
			require.Equal(t, http.StatusNotFound, status(t, "http://"+metrics.Addr().String()+"/debug/pprof/nothing"))
			cancel()
			require.NoError(t, running.Wait())
		})
	}
}

func status(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}
