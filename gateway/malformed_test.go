package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// raw sends bytes as they are and reads the head of the answer.
func raw(t *testing.T, url, sent string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")) //nolint:noctx // the test closes it
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, sent)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp
}

// What net/http refuses before there is a request is no problem document, and
// docs/openapi.yaml says so.
func TestWhatIsRefusedBeforeItIsARequest(t *testing.T) {
	t.Parallel()
	g := start(t, time.Minute, serveAt(t, "127.0.0.1:0", echo))
	for name, tc := range map[string]struct {
		sent   string
		status int
	}{
		"no request line":   {"orders?\r\n\r\n", http.StatusBadRequest},
		"no host":           {"GET /orders HTTP/1.1\r\n\r\n", http.StatusBadRequest},
		"a long head":       {"GET /orders HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"transfer encoding": {"POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", http.StatusNotImplemented},
		"version":           {"GET /orders HTTP/3.0\r\nHost: a\r\n\r\n", http.StatusHTTPVersionNotSupported},
	} {
		resp := raw(t, g.url, tc.sent)
		require.Equal(t, tc.status, resp.StatusCode, name)
		require.Contains(t, resp.Header.Get("Content-Type"), "text/plain", name)
	}
	resp := raw(t, g.url, "POST /orders HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\nx")
	require.Equal(t, http.StatusExpectationFailed, resp.StatusCode)
	require.Zero(t, resp.ContentLength)
	require.Equal(t, http.StatusOK, raw(t, g.url, "GET /orders HTTP/1.0\r\n\r\n").StatusCode, "an old client names no host")
	require.Equal(t, http.StatusNotFound, raw(t, g.url, "CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n").StatusCode)
}
