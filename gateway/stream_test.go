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

// events serves a stream that sends one event at once and the last one when release is
// closed. If the client disconnects first, it closes disconnected.
func events(release <-chan struct{}, disconnected chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprint(w, "data: first\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
			fmt.Fprint(w, "data: last\n\n")
		case <-r.Context().Done():
			close(disconnected)
		}
	}
}

// follow opens a stream, reads the first event and returns a reader of the rest.
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

func TestEventsAreNotBuffered(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	rest := follow(t, start(t, time.Minute, serveAt(t, "127.0.0.1:0", events(release, nil))).url)
	close(release) // the first event arrived before the response was complete
	last, err := io.ReadAll(rest)
	require.NoError(t, err)
	require.Equal(t, "\ndata: last\n\n", string(last))
}

// The read timeout of the server limits how long reading a request takes. The response
// may take forever, because net/http clears the deadline once the request was read.
func TestReadTimeoutDoesNotEndAStream(t *testing.T) {
	t.Parallel()
	const readTimeout = 20 * time.Millisecond
	b := serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		release := make(chan struct{})
		timer := time.AfterFunc(10*readTimeout, func() { close(release) })
		defer timer.Stop()
		events(release, make(chan struct{}))(w, r)
	})
	f := start(t, time.Minute, b)
	engine, m := service.NewEngine(discard, service.NewRegistry(), &service.Health{}), newMetrics(service.NewRegistry())
	registerProxies(engine, map[string]*proxy{"/orders": newProxy(f.up, unlimitedAdmission("orders"), time.Minute, newStreams(maxTestStreams, 0, discard, nil), discard, m)}, off, newBodies(64<<10, testBudget))
	srv := httptest.NewUnstartedServer(engine)
	srv.Config.ReadTimeout = readTimeout
	srv.Start()
	t.Cleanup(srv.Close)
	last, err := io.ReadAll(follow(t, srv.URL))
	require.NoError(t, err)
	require.Equal(t, "\ndata: last\n\n", string(last))
}

// Shutdown does not wait for streams: they end cleanly, and their clients reconnect.
func TestShutdownEndsStreams(t *testing.T) {
	t.Parallel()
	disconnected := make(chan struct{})
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", events(nil, disconnected)))
	rest := follow(t, f.url)
	require.NoError(t, f.stop())
	last, err := io.ReadAll(rest)
	require.NoError(t, err)
	require.Equal(t, "\n", string(last))
	<-disconnected // the request to the service is cancelled too
}

// If a service closes the connection during a response, the client receives a truncated
// response. The gateway does not log a panic.
func TestTruncatedResponseStaysTruncated(t *testing.T) {
	t.Parallel()
	for name, contentType := range map[string]string{"stream": "text/event-stream", "response": "application/json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			b := serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", contentType)
				fmt.Fprint(w, "data: first\n\n")
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			f := startLogging(t, slog.New(slog.NewJSONHandler(&log, nil)), time.Minute, b)
			_, err := io.ReadAll(follow(t, f.url))
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.NoError(t, f.stop())
			require.Empty(t, log.String())
		})
	}
}

// When a replica crashes, the gateway ends its streams at once.
func TestLostReplicaEndsItsStreams(t *testing.T) {
	t.Parallel()
	b := serveAt(t, "127.0.0.1:0", events(nil, make(chan struct{})))
	rest := follow(t, start(t, time.Minute, b).url)
	b.stop()
	_, err := io.ReadAll(rest)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// A client that does not read is disconnected, and shutdown does not wait for it.
func TestSlowClientIsDisconnected(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Content-Type", "text/event-stream")
		event := bytes.Repeat([]byte("x"), 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(event); err != nil {
				return
			}
		}
	}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://")) //nolint:noctx // the test closes it
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprint(conn, "GET /orders/events HTTP/1.1\r\nHost: shop\r\n\r\n")
	require.NoError(t, err)
	<-ended
	require.NoError(t, f.stop())
}

// A stream stays open for hours, so it does not count as a request in flight.
func TestStreamsDoNotCountAsInFlight(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := serveAt(t, "127.0.0.1:0", events(release, nil))
	f := start(t, time.Minute, b)
	rest := follow(t, f.url)
	for _, r := range *f.up.replicas.Load() {
		require.Zero(t, r.inFlight.Load())
	}
	close(release)
	_, err := io.ReadAll(rest)
	require.NoError(t, err)
	for _, r := range *f.up.replicas.Load() {
		require.Zero(t, r.inFlight.Load())
	}
}

// HTTP/1.0 has no chunks: the end of the connection ends the stream.
func TestStreamToHTTP10(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	close(release)
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", events(release, nil)))
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://")) //nolint:noctx // the test closes it
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprint(conn, "GET /orders/events HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(all, []byte("HTTP/1.0 200 OK\r\n")), string(all))
	require.True(t, bytes.HasSuffix(all, []byte("\r\n\r\ndata: first\n\ndata: last\n\n")), string(all))
}

// A connection of HTTP/2 cannot be taken over. Streams work all the same.
func TestStreamToHTTP2(t *testing.T) {
	t.Parallel()
	for name, truncated := range map[string]bool{"complete": false, "truncated": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release, next := make(chan struct{}), make(chan struct{})
			b := serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
				events(release, nil)(w, r)
				_ = http.NewResponseController(w).Flush()
				<-next
				if truncated {
					panic(http.ErrAbortHandler)
				}
			})
			f := start(t, time.Minute, b)
			engine, m := service.NewEngine(discard, service.NewRegistry(), &service.Health{}), newMetrics(service.NewRegistry())
			registerProxies(engine, map[string]*proxy{"/orders": newProxy(f.up, unlimitedAdmission("orders"), time.Minute, newStreams(maxTestStreams, 0, discard, nil), discard, m)}, off, newBodies(64<<10, testBudget))
			srv := httptest.NewUnstartedServer(engine)
			srv.EnableHTTP2 = true
			srv.StartTLS()
			t.Cleanup(srv.Close)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/orders/events", http.NoBody)
			require.NoError(t, err)
			resp, err := srv.Client().Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			require.Equal(t, 2, resp.ProtoMajor)
			r := bufio.NewReader(resp.Body)
			for _, want := range []string{"data: first\n", "\n", "data: last\n"} {
				if want == "data: last\n" {
					close(release)
				}
				line, err := r.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, want, line)
			}
			close(next)
			_, err = io.ReadAll(r)
			if truncated {
				require.ErrorContains(t, err, "stream error")
			} else {
				require.NoError(t, err)
			}
		})
	}
}

// A client that disconnects from a stream cancels the request to the service.
func TestClientLeavesAStream(t *testing.T) {
	t.Parallel()
	disconnected := make(chan struct{})
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", events(nil, disconnected)))
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://")) //nolint:noctx // the test closes it
	require.NoError(t, err)
	_, err = fmt.Fprint(conn, "GET /orders/events HTTP/1.1\r\nHost: a\r\n\r\nmore")
	require.NoError(t, err)
	_, err = bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	<-disconnected
}

// The streams of a gateway are limited. A stream that ends makes room for another one.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		events(release, make(chan struct{}))(w, r)
	}))
	var open []*bufio.Reader
	for range maxTestStreams {
		open = append(open, follow(t, f.url))
	}
	resp, body := f.call(t, http.MethodGet, "/orders/events", http.NoBody)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, body)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	require.Equal(t, "1", resp.Header.Get("Retry-After"))
	close(release)
	for _, s := range open {
		_, err := io.Copy(io.Discard, s)
		require.NoError(t, err)
	}
	eventually(t, func() bool {
		resp, _ := f.call(t, http.MethodGet, "/orders/events", http.NoBody)
		return resp.StatusCode == http.StatusOK
	})
}
