package http1_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/gateway/internal/http1"
)

// Only a connection that has carried a whole response, and nothing else, is used again.
func TestReuse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method, response, body string
		reused                 bool
	}{
		"content length":       {http.MethodGet, ok, "ok", true},
		"empty":                {http.MethodGet, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true},
		"chunked":              {http.MethodGet, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", true},
		"trailer":              {http.MethodGet, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", "ok", true},
		"head":                 {http.MethodHead, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "", true},
		"head, chunked":        {http.MethodHead, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", true},
		"no content":           {http.MethodGet, "HTTP/1.1 204 No Content\r\n\r\n", "", true},
		"not modified":         {http.MethodGet, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "", true},
		"informational":        {http.MethodGet, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, "ok", true},
		"HTTP/1.0, keep-alive": {http.MethodGet, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "ok", true},
		"connection: close":    {http.MethodGet, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok", false},
		"HTTP/1.0":             {http.MethodGet, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", false},
		"more than a response": {http.MethodGet, ok + ok, "ok", false},
		"body without length":  {http.MethodGet, "HTTP/1.1 204 No Content\r\n\r\nok", "", false},
		"both lengths":         {http.MethodGet, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, reply(tc.response, ok))
			resp, body, err := s.do(t, tc.method)
			require.NoError(t, err)
			require.Equal(t, tc.body, body)
			require.Empty(t, resp.Header.Values("Transfer-Encoding"))
			if name == "both lengths" {
				require.Empty(t, resp.Header.Values("Content-Length"))
			}
			resp, body, err = s.do(t, http.MethodGet)
			require.NoError(t, err)
			require.Equal(t, 200, resp.StatusCode)
			require.Equal(t, "ok", body)
			require.EqualValues(t, 2, s.requests.Load())
			require.Equal(t, tc.reused, s.accepted.Load() == 1)
		})
	}
}

// A response that could be read in two ways is rejected, and so is one without an end.
func TestRejectedHeads(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]string{
		"two lengths":              "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
		"list of lengths":          "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nok",
		"signed length":            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
		"negative length":          "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
		"unknown encoding":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
		"two encodings":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"header without a colon":   "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\nok",
		"folded first header":      "HTTP/1.1 200 OK\r\n Content-Length: 2\r\n\r\nok",
		"status too low":           "HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok",
		"status too long":          "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
		"unknown version":          "HTTP/x 200 OK\r\n\r\n",
		"not HTTP":                 "SSH-2.0-OpenSSH\r\n\r\n",
		"switch of protocols":      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
		"empty":                    "\r\n\r\n",
		"endless header":           "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 65<<10) + "\r\n\r\n",
		"many headers":             "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 12<<10) + "\r\n",
		"many informational heads": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 3<<10) + ok,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, reply(response))
			_, _, err := s.do(t, http.MethodGet)
			require.Error(t, err)
			var failed *http1.Error
			require.ErrorAs(t, err, &failed)
			require.True(t, failed.Sent)
			require.EqualValues(t, 1, s.requests.Load(), "the request was sent twice")
			<-s.closed
		})
	}
}

func TestTruncatedBodies(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]string{
		"content length":     "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
		"between chunks":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
		"within a chunk":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok",
		"before the trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(_ int64, c net.Conn) bool { _, _ = io.WriteString(c, response); return false })
			_, body, err := s.do(t, http.MethodGet)
			require.ErrorContains(t, err, "unexpected EOF")
			require.Equal(t, "ok", body)
		})
	}
}

// Nothing was sent if the connection cannot be established or was closed before.
func TestNothingWasSent(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = http1.NewPool(l.Addr().String()).Do(t.Context(), request(http.MethodGet))
	var failed *http1.Error
	require.ErrorAs(t, err, &failed)
	require.False(t, failed.Sent)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = start(t, reply(ok)).pool.Do(ctx, request(http.MethodGet))
	require.ErrorAs(t, err, &failed)
	require.False(t, failed.Sent)
}

func TestConnectionLostAfterTheRequestWasSent(t *testing.T) {
	t.Parallel()
	s := start(t, func(n int64, c net.Conn) bool { return n == 1 && reply(ok)(n, c) })
	for i := range 2 {
		_, _, err := s.do(t, http.MethodGet)
		if i == 0 {
			require.NoError(t, err)
			continue
		}
		var failed *http1.Error
		require.ErrorAs(t, err, &failed)
		require.True(t, failed.Sent)
	}
	require.EqualValues(t, 2, s.requests.Load())
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := start(t, func(_ int64, c net.Conn) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n") // does not extend the time
		<-release
		return false
	})
	defer close(release)
	r := request(http.MethodGet)
	r.Timeout = 20 * time.Millisecond
	_, err := s.pool.Do(t.Context(), r)
	var failed *http1.Error
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
}

// The timeout limits only the head: the body may take longer.
func TestTimeoutDoesNotLimitTheBody(t *testing.T) {
	t.Parallel()
	const timeout = 20 * time.Millisecond
	for name, head := range map[string]string{
		"content length": "Content-Length: 2\r\n\r\no", "close": "\r\no", "chunked": "Transfer-Encoding: chunked\r\n\r\n2\r\no",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(_ int64, c net.Conn) bool {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head)
				<-time.After(5 * timeout)
				_, _ = io.WriteString(c, "k")
				if name == "chunked" {
					_, _ = io.WriteString(c, "\r\n0\r\n\r\n")
				}
				return false
			})
			r := request(http.MethodGet)
			r.Timeout = timeout
			resp, err := s.pool.Do(t.Context(), r)
			require.NoError(t, err)
			defer resp.Close()
			body, err := io.ReadAll(resp)
			require.NoError(t, err)
			require.Equal(t, "ok", string(body))
		})
	}
}

// The service learns that the client has disconnected: before the head and within the body.
func TestCancel(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]string{"head": "", "body": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := start(t, func(n int64, c net.Conn) bool {
				if response == "" {
					cancel()
				}
				return reply(response)(n, c)
			})
			resp, err := s.pool.Do(ctx, request(http.MethodGet))
			if response == "" {
				require.Error(t, err)
			} else {
				require.NoError(t, err)
				defer resp.Close()
				cancel()
				_, err = io.ReadAll(resp)
				require.ErrorIs(t, err, net.ErrClosed)
			}
			<-s.closed
		})
	}
}

// A connection whose response was not read to its end is closed.
func TestCloseBeforeTheEnd(t *testing.T) {
	t.Parallel()
	s := start(t, reply(ok))
	resp, err := s.pool.Do(t.Context(), request(http.MethodGet))
	require.NoError(t, err)
	resp.Close()
	<-s.closed
}

func TestInformational(t *testing.T) {
	t.Parallel()
	s := start(t, reply("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+ok))
	var seen []string
	r := request(http.MethodGet)
	r.Informational = func(i http1.Informational) { seen = append(seen, fmt.Sprint(i.StatusCode, i.Header.Get("Link"))) }
	resp, err := s.pool.Do(t.Context(), r)
	require.NoError(t, err)
	resp.Close()
	require.Equal(t, []string{"102", "103x"}, seen)
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	s := start(t, reply(ok))
	use := func() {
		_, _, err := s.do(t, http.MethodGet)
		require.NoError(t, err)
	}
	use()
	s.pool.CloseIdle(time.Hour)
	use()
	require.EqualValues(t, 1, s.accepted.Load())
	s.pool.CloseIdle(0)
	<-s.closed
	use()
	require.EqualValues(t, 2, s.accepted.Load())
	s.pool.Close()
	<-s.closed
	use()
	<-s.closed // after Close, no connection is kept
	require.EqualValues(t, 3, s.accepted.Load())
}
