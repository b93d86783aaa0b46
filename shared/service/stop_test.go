package service_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
)

// pipes is a listener whose connections are pipes, so that it works with synctest.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.close(); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.accept <- server
	return client, nil
}

// A stopping service still responds for a second, on new connections too, and asks its
// clients to close them. No request is dropped when it closes its listener.
func TestStopIsNoticedBeforeTheListenerCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, health := newPipes(), &service.Health{}
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
		served := serveAPI(l, service.NewEngine(discard, service.NewRegistry(), health), health)
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- served.Run(ctx) }()
		status, closes := probe("/readyz")
		require.Equal(t, http.StatusOK, status)
		require.False(t, closes)

		late, err := l.dial(ctx, "", "")
		require.NoError(t, err)
		defer late.Close()
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
		<-l.closed
		require.Equal(t, time.Second, time.Since(start))
		_, err = io.WriteString(late, "GET /livez HTTP/1.1\r\nHost: service\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(late), nil)
		require.NoError(t, err, "a request that arrives after the listener was closed")
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.NoError(t, <-stopped)
		<-health.Done()
	})
}
