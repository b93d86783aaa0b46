package service_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/service"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	errDown := errors.New("down")
	down := func(context.Context) error { return errDown }
	health := &service.Health{}
	code, body := health.Ready()
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "ready", body.Status)

	health = &service.Health{}
	health.Add("broker", service.Degrading, down)
	code, body = health.Ready()
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, service.Readiness{Status: "degraded", NotReady: map[string]string{"broker": "down"}}, body)

	health = &service.Health{}
	health.Add("broker", service.Degrading, down)
	health.Add("database", service.Required, down)
	code, body = health.Ready()
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "unavailable", body.Status)
	require.Len(t, body.NotReady, 2)
}

// The checks run at most once per second, or ten times while the service is not ready, however
// often a client asks. The end of a service is reported at once.
func TestReadinessCostsNothingPerCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var health service.Health
		runs, err := 0, error(nil)
		health.Add("database", service.Required, func(context.Context) error { runs++; return err })
		for range 100 {
			code, _ := health.Ready()
			require.Equal(t, http.StatusOK, code)
		}
		require.Equal(t, 1, runs)
		err = errors.New("down")
		<-time.After(time.Second)
		for range 100 {
			code, _ := health.Ready()
			require.Equal(t, http.StatusServiceUnavailable, code)
		}
		require.Equal(t, 2, runs)
		err = nil
		<-time.After(100 * time.Millisecond)
		code, _ := health.Ready()
		require.Equal(t, http.StatusOK, code)
		require.Equal(t, 3, runs)
		health.Stopping()
		_, body := health.Ready()
		require.Equal(t, "stopping", body.Status)
		require.Equal(t, 3, runs)
	})
}

// Callers share the checks that are already running.
func TestReadinessIsShared(t *testing.T) {
	t.Parallel()
	var health service.Health
	var runs atomic.Int64
	started, release := make(chan struct{}), make(chan struct{})
	health.Add("database", service.Required, func(context.Context) error {
		if runs.Add(1) == 1 {
			close(started)
		}
		<-release
		return nil
	})
	var g errgroup.Group
	ask := func() error {
		if code, body := health.Ready(); code != http.StatusOK {
			return fmt.Errorf("%d %v", code, body)
		}
		return nil
	}
	g.Go(ask)
	<-started
	for range 20 {
		g.Go(ask)
	}
	close(release)
	require.NoError(t, g.Wait())
	require.EqualValues(t, 1, runs.Load())
}

// Checks run on goroutines on which net/http does not recover panics.
func TestPanickingCheckIsNotReady(t *testing.T) {
	t.Parallel()
	var h service.Health
	h.Add("broken", service.Degrading, func(context.Context) error { panic("in a check") })
	code, body := h.Ready()
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
