package service_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/service"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	health := &service.Health{}
	errDown := errors.New("down")
	code, body := health.Ready(t.Context())
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "ready", body.Status)
	health.Add("broker", service.Degrading, func(context.Context) error { return errDown })
	code, body = health.Ready(t.Context())
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, service.Readiness{Status: "degraded", NotReady: map[string]string{"broker": "down"}}, body)
	health.Add("database", service.Required, func(context.Context) error { return errDown })
	code, body = health.Ready(t.Context())
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "unavailable", body.Status)
	require.Len(t, body.NotReady, 2)
	health.Stopping()
	_, body = health.Ready(t.Context())
	require.Equal(t, "stopping", body.Status)
}

// Checks run on goroutines on which net/http does not recover panics.
func TestPanickingCheckIsNotReady(t *testing.T) {
	t.Parallel()
	var h service.Health
	h.Add("broken", service.Degrading, func(context.Context) error { panic("in a check") })
	code, body := h.Ready(t.Context())
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "panic: in a check", body.NotReady["broken"])
}

func TestDoneIsClosedWhenNoRequestsAreAccepted(t *testing.T) {
	t.Parallel()
	var health service.Health
	var g errgroup.Group
	for range 8 {
		g.Go(func() error { <-health.Done(); return nil })
	}
	select {
	case <-health.Done():
		t.Fatal("closed too early")
	default:
	}
	health.Stopping()
	select {
	case <-health.Done():
		t.Fatal("closed while requests are still accepted")
	default:
	}
	health.Stopped()
	require.NoError(t, g.Wait())
}
