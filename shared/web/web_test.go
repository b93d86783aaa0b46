package web_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/batch"
	"gozon/shared/service"
	"gozon/shared/test/servicetest"
	"gozon/shared/web"
)

// Requests above the limit, and those for which a batcher has no room, get a 503. Only one log
// line for each reason is written.
func TestRequestsInFlightAreLimited(t *testing.T) {
	t.Parallel()
	var log servicetest.LogBuffer
	logger, reg := slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry()
	engine := service.NewEngine(logger, reg, &service.Health{})
	r := web.Router{Routes: engine, Log: logger, InFlight: service.NewLimit(1, reg, nil), Refused: service.NewRefusals(logger, reg), Limited: service.NewLimited(logger, reg)}
	arrived, release := make(chan struct{}), make(chan struct{})
	r.Handle(http.MethodPost, "/stuck", func(_ context.Context, c *gin.Context) error {
		arrived <- struct{}{}
		<-release
		c.Status(http.StatusOK)
		return nil
	})
	r.Handle(http.MethodPost, "/full", func(context.Context, *gin.Context) error { return batch.ErrFull })
	srv := httptest.NewServer(engine)
	t.Cleanup(srv.Close)
	send := func(path string) (*http.Response, error) {
		resp, err := http.Post(srv.URL+path, "", http.NoBody) //nolint:noctx // it ends with the server
		if err == nil {
			err = resp.Body.Close()
		}
		return resp, err
	}
	status := func(path string) int {
		t.Helper()
		resp, err := send(path)
		require.NoError(t, err)
		if resp.StatusCode == http.StatusServiceUnavailable {
			require.Equal(t, "1", resp.Header.Get("Retry-After"))
		}
		return resp.StatusCode
	}

	ended := make(chan error)
	go func() {
		_, err := send("/stuck")
		ended <- err
	}()
	<-arrived
	for range 20 {
		require.Equal(t, http.StatusServiceUnavailable, status("/stuck"))
	}
	require.Equal(t, http.StatusServiceUnavailable, status("/full"))
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	close(release)
	require.NoError(t, <-ended)

	for range 20 {
		require.Equal(t, http.StatusServiceUnavailable, status("/full"))
	}
	require.Equal(t, 2, strings.Count(log.String(), "\n"), log.String())
	go func() { <-arrived }()
	require.Equal(t, http.StatusOK, status("/stuck"))
}
