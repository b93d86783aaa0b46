package service_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
)

// pipes is a listener whose connections are pipes, so that it works with synctest.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error { close(p); return nil }

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p <- server
	return client, nil
}

// A stopping service still responds for a second, on new connections too, and asks its
// clients to close them.
func TestStopIsNoticedBeforeTheListenerCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, health := make(pipes), &service.Health{}
		transport := &http.Transport{DialContext: l.dial}
		defer transport.CloseIdleConnections()
		probe := func(path string) (status int, closes bool) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://service"+path, http.NoBody)
			require.NoError(t, err)
			resp, err := transport.RoundTrip(req)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			return resp.StatusCode, resp.Close
		}
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() {
			stopped <- service.ServeHTTP(l, service.NewEngine(discard, service.NewRegistry(), health), health).Run(ctx)
		}()
		status, closes := probe("/readyz")
		require.Equal(t, http.StatusOK, status)
		require.False(t, closes)

		start := time.Now()
		stop()
		synctest.Wait()
		for range 2 { // the second one over a new connection
			status, closes = probe("/livez")
			require.Equal(t, http.StatusOK, status)
			require.True(t, closes)
		}
		status, _ = probe("/readyz")
		require.Equal(t, http.StatusServiceUnavailable, status)
		select {
		case <-health.Done():
			t.Fatal("streams were ended too early")
		default:
		}
		require.NoError(t, <-stopped)
		<-health.Done()
		require.Equal(t, time.Second, time.Since(start))
	})
}
