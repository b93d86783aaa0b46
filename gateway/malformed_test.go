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

// sendRaw sends the bytes of request unchanged and returns the response without its body.
func sendRaw(t *testing.T, url, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")) //nolint:noctx // the test closes it
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp
}

// net/http rejects some malformed requests before any handler runs. Those responses are not
// problem documents, as documented in docs/openapi.yaml.
func TestMalformedRequestsAreRejected(t *testing.T) {
	t.Parallel()
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", echo))
	for name, tc := range map[string]struct {
		request string
		status  int
	}{
		"no request line":           {"orders?\r\n\r\n", http.StatusBadRequest},
		"no host":                   {"GET /orders HTTP/1.1\r\n\r\n", http.StatusBadRequest},
		"header too large":          {"GET /orders HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"unknown transfer encoding": {"POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", http.StatusNotImplemented},
		"unknown version":           {"GET /orders HTTP/3.0\r\nHost: a\r\n\r\n", http.StatusHTTPVersionNotSupported},
	} {
		resp := sendRaw(t, f.url, tc.request)
		require.Equal(t, tc.status, resp.StatusCode, name)
		require.Contains(t, resp.Header.Get("Content-Type"), "text/plain", name)
	}
	resp := sendRaw(t, f.url, "POST /orders HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\nx")
	require.Equal(t, http.StatusExpectationFailed, resp.StatusCode)
	require.Zero(t, resp.ContentLength)
	require.Equal(t, http.StatusOK, sendRaw(t, f.url, "GET /orders HTTP/1.0\r\n\r\n").StatusCode, "HTTP/1.0 does not require a Host header")
	require.Equal(t, http.StatusNotFound, sendRaw(t, f.url, "CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n").StatusCode)
}
