package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
)

// events serves a stream that has one event and goes on until it is released, or until
// its reader is gone, which it tells.
func events(release <-chan struct{}, gone chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprint(w, "data: first\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
			fmt.Fprint(w, "data: last\n\n")
		case <-r.Context().Done():
			close(gone)
		}
	}
}

// follow opens a stream, reads its first event and returns the rest.
func follow(t *testing.T, base string) *bufio.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/orders/events", http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	r := bufio.NewReader(resp.Body)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "data: first\n", line)
	return r
}

func TestEventsPassUnbuffered(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	rest := follow(t, start(t, time.Minute, serveAt(t, "127.0.0.1:0", events(release, nil))).url)
	close(release) // the first event was here while the service still wrote
	last, err := io.ReadAll(rest)
	require.NoError(t, err)
	require.Equal(t, "\ndata: last\n\n", string(last))
}

// The server's read timeout is for requests that come slowly: once a request was read,
// its answer may take for ever. (net/http clears the deadline before it watches the
// connection.)
func TestReadTimeoutDoesNotEndAStream(t *testing.T) {
	t.Parallel()
	const readTimeout = 20 * time.Millisecond
	b := serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		release := make(chan struct{})
		timer := time.AfterFunc(10*readTimeout, func() { close(release) })
		defer timer.Stop()
		events(release, make(chan struct{}))(w, r)
	})
	g := start(t, time.Minute, b)
	engine, m := service.NewEngine(discard, service.NewRegistry(), &service.Health{}), newMetrics(service.NewRegistry())
	register(engine, map[string]http.Handler{"/orders": newProxy(g.up, time.Minute, nil, discard, m)}, 64<<10)
	impatient := httptest.NewUnstartedServer(engine)
	impatient.Config.ReadTimeout = readTimeout
	impatient.Start()
	t.Cleanup(impatient.Close)
	last, err := io.ReadAll(follow(t, impatient.URL))
	require.NoError(t, err)
	require.Equal(t, "\ndata: last\n\n", string(last))
}

// A stop does not wait for streams: they end cleanly, and their clients reconnect.
func TestStopEndsStreams(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	g := start(t, time.Minute, serveAt(t, "127.0.0.1:0", events(nil, gone)))
	rest := follow(t, g.url)
	require.NoError(t, g.stop())
	last, err := io.ReadAll(rest)
	require.NoError(t, err)
	require.Equal(t, "\n", string(last))
	<-gone // and the service was told
}

// A service that breaks off in the middle of an answer: the client sees a cut one, and
// the log does not call it a panic of the gateway.
func TestAnswerThatBreaksOffIsCutOff(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{"a stream": "text/event-stream", "an answer": "application/json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			b := serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", header)
				fmt.Fprint(w, "data: first\n\n")
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			g := startLogging(t, slog.New(slog.NewJSONHandler(&log, nil)), time.Minute, b)
			_, err := io.ReadAll(follow(t, g.url))
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.NoError(t, g.stop())
			require.Empty(t, log.String())
		})
	}
}

// A replica that is lost ends the streams that came from it at once.
func TestLostReplicaEndsItsStreams(t *testing.T) {
	t.Parallel()
	b := serveAt(t, "127.0.0.1:0", events(nil, make(chan struct{})))
	rest := follow(t, start(t, time.Minute, b).url)
	b.stop()
	_, err := io.ReadAll(rest)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// A client that does not read is cut off, and a stop does not wait for it.
func TestClientThatDoesNotReadIsCutOff(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	g := start(t, time.Minute, serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		w.Header().Set("Content-Type", "text/event-stream")
		event := bytes.Repeat([]byte("x"), 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(event); err != nil {
				return
			}
		}
	}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://")) //nolint:noctx // the test closes it
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprint(conn, "GET /orders/events HTTP/1.1\r\nHost: orders\r\n\r\n")
	require.NoError(t, err)
	<-gone
	require.NoError(t, g.stop())
}

// Streams stay for hours: they are no requests in hand when a replica is chosen.
func TestStreamsDoNotCountAgainstTheirReplica(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := serveAt(t, "127.0.0.1:0", events(release, nil))
	g := start(t, time.Minute, b)
	rest := follow(t, g.url)
	for _, r := range *g.up.known.Load() {
		require.Zero(t, r.inFlight.Load())
	}
	close(release)
	_, err := io.ReadAll(rest)
	require.NoError(t, err)
	for _, r := range *g.up.known.Load() {
		require.Zero(t, r.inFlight.Load())
	}
}
