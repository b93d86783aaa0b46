package service_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/test/servicetest"
)

// A connection above the limit is refused at once. Connections that were closed or hijacked
// do not count.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	l, err := service.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	reg := service.NewRegistry()
	mux := http.NewServeMux()
	mux.HandleFunc("/hijacked", func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			t.Cleanup(func() { _ = conn.Close() })
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- service.Config{MaxConnections: 2}.ServeAPI(l, mux, &service.Health{}, reg).Run(ctx) }()
	request := func(path string) (net.Conn, *http.Response, string) {
		c, err := net.Dial("tcp", l.Addr().String()) //nolint:noctx // the test closes it
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n") // fails if it was refused before
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return c, resp, string(body)
	}
	for range 5 {
		_, resp, _ := request("/hijacked")
		require.Equal(t, http.StatusNoContent, resp.StatusCode)
	}
	first, _, _ := request("/")
	second, resp, _ := request("/")
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	_, resp, body := request("/")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	require.Equal(t, "1", resp.Header.Get("Retry-After"))
	require.True(t, resp.Close)
	require.JSONEq(t, `{"type":"/problems/unavailable","title":"Temporarily unavailable","status":503,"detail":"too many connections; nothing was done, so a retry is safe"}`, body)
	require.NoError(t, first.Close())
	servicetest.Eventually(t, func() bool {
		third, resp, _ := request("/")
		return third.Close() == nil && resp.StatusCode == http.StatusNotFound
	})
	require.NoError(t, second.Close())
	stop()
	require.NoError(t, <-stopped)
}
