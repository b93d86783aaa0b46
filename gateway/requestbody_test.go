package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sender is a client whose request has arrived in part.
type sender struct {
	net.Conn
	*bufio.Reader
}

// send sends text to the gateway and keeps the connection open.
func (f *fixture) send(t *testing.T, text string) sender {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://")) //nolint:noctx // the test closes it
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	return sender{conn, bufio.NewReader(conn)}
}

// response reads a response and returns it with its body.
func (s sender) response(t *testing.T) (*http.Response, string) {
	t.Helper()
	require.NoError(t, s.SetReadDeadline(time.Now().Add(time.Minute)))
	resp, err := http.ReadResponse(s.Reader, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

const (
	knownLength = "POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n%s"
	chunked     = "POST /orders HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n"
)

// Clients that send large bodies slowly use up the memory for large bodies. Others get a 503
// at once, but only for large bodies. The memory is available again when a body was forwarded
// or its client has disconnected.
func TestSlowSendersDoNotFillTheMemory(t *testing.T) {
	t.Parallel()
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}))
	const large = 64 << 10
	x := func(n int) string { return strings.Repeat("x", n) }
	ok := func(s sender, n int) {
		t.Helper()
		resp, body := s.response(t)
		require.Equal(t, http.StatusOK, resp.StatusCode, body)
		require.Equal(t, strconv.Itoa(n), body)
	}
	left := func() int64 { return f.bodies.budget.Load() }
	slow := []sender{
		f.send(t, fmt.Sprintf(knownLength, large, "")),
		f.send(t, fmt.Sprintf(knownLength, large, x(large-1))),
		f.send(t, fmt.Sprintf(chunked, smallBody, x(smallBody))),
		f.send(t, fmt.Sprintf(chunked, smallBody, x(smallBody))),
	}
	eventually(t, func() bool { return left() < smallBody })
	for _, refused := range []string{
		fmt.Sprintf(knownLength, large, x(large)), fmt.Sprintf(knownLength, smallBody+1, ""), fmt.Sprintf(chunked, smallBody, x(smallBody)),
	} {
		resp, body := f.send(t, refused).response(t)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, body)
		require.Contains(t, body, "/problems/unavailable")
		require.Equal(t, "1", resp.Header.Get("Retry-After"))
		require.True(t, resp.Close)
	}
	ok(f.send(t, fmt.Sprintf(knownLength, smallBody, x(smallBody))), smallBody)
	ok(f.send(t, fmt.Sprintf(chunked, smallBody-1, x(smallBody-1))+lastChunk), smallBody-1)

	for i, rest := range map[int]string{1: "x", 2: lastChunk} {
		_, err := io.WriteString(slow[i], rest)
		require.NoError(t, err)
	}
	ok(slow[1], large)
	ok(slow[2], smallBody)
	require.NoError(t, slow[0].Close())
	require.NoError(t, slow[3].Close())
	eventually(t, func() bool { return left() == testBudget })
}

// A body of unknown length is limited too, and one that ends early is never forwarded.
func TestBodiesOfUnknownLength(t *testing.T) {
	t.Parallel()
	b := serveAt(t, "127.0.0.1:0", echo)
	f := start(t, time.Minute, b)
	for n, status := range map[int]int{1: 200, smallBody: 200, smallBody + 1: 200, 64 << 10: 200, 64<<10 + 1: 413, 80 << 10: 413} {
		body := strings.Repeat("x", n)
		resp, got := f.send(t, fmt.Sprintf(chunked, n, body)+lastChunk).response(t)
		require.Equal(t, status, resp.StatusCode, n)
		if status == http.StatusOK {
			require.Equal(t, "POST /orders "+body, got)
		}
	}
	b.hits.Store(0)
	for _, text := range []string{
		fmt.Sprintf(knownLength, 2, "x"), fmt.Sprintf(knownLength, smallBody+2, strings.Repeat("x", smallBody+1)),
		fmt.Sprintf(chunked, 1, "x"), fmt.Sprintf(chunked, smallBody+1, strings.Repeat("x", smallBody+1)),
	} {
		s := f.send(t, text)
		require.NoError(t, s.Conn.(*net.TCPConn).CloseWrite())
		resp, body := s.response(t)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		require.Contains(t, body, "incomplete")
	}
	require.Zero(t, b.hits.Load())
	require.EqualValues(t, testBudget, f.bodies.budget.Load())
}
