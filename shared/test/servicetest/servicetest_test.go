package servicetest_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/test/servicetest"
)

type config struct{ Service service.Config }

// No other process can bind the addresses of a service before the service does.
func TestAddressesAreBoundFromTheStart(t *testing.T) {
	t.Parallel()
	var cfg config
	reg, health := service.NewRegistry(), &service.Health{}
	engine := service.NewEngine(slog.New(slog.DiscardHandler), reg, health)
	s := servicetest.Start(t, service.Program{
		Name: "test", Config: &cfg, Frame: &cfg.Service,
		Serve: func(ctx context.Context, log *slog.Logger) error {
			for _, addr := range []string{cfg.Service.HTTPAddr, cfg.Service.MetricsAddr} {
				if l, err := service.Listen(ctx, addr); err == nil {
					return errors.Join(errors.New(addr+" was not bound"), l.Close())
				}
			}
			api, metrics, err := cfg.Service.Listen(ctx)
			if err != nil {
				return err
			}
			return service.Run(ctx, log, cfg.Service.DrainTimeout, cfg.Service.ServeMetrics(metrics, reg), cfg.Service.ServeAPI(api, engine, health, reg))
		},
	}, "", "")
	s.Ready(t)
	require.Positive(t, s.Metric(t, "go_goroutines"))
	s.Stop()
	_, err := s.Do(t.Context(), http.MethodGet, "/readyz", "")
	require.Error(t, err)
}

// A condition that exits its goroutine, like a failing require, exits the caller.
func TestEventuallyCallsTheConditionOnTheGoroutineOfTheCaller(t *testing.T) {
	t.Parallel()
	calls := 0
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		servicetest.Eventually(t, func() bool {
			if calls++; calls == 3 {
				runtime.Goexit()
			}
			return false
		})
	}()
	<-ended
	require.Equal(t, 3, calls)
}
