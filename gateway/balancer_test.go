package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// crash closes the connection like a process that is killed after it executed the request.
// If another replica executed the request before, crash responds with 201 instead.
func crash(s *faultyBackend, w http.ResponseWriter) {
	if s.executed.Load() > 1 {
		w.WriteHeader(http.StatusCreated)
		return
	}
	s.stop()
	panic(http.ErrAbortHandler)
}

var keys = map[string][]string{
	"no key":            nil,
	"Idempotency-Key":   {"Idempotency-Key", "k"},
	"X-Idempotency-Key": {"X-Idempotency-Key", "k"},
}

// forEachPost runs test for each combination of: one or two replicas, with and without a
// body, with and without a header that makes net/http consider the request idempotent.
// The argument keyed reports whether the request has an Idempotency-Key.
func forEachPost(t *testing.T, test func(t *testing.T, replicas int, keyed bool, post func(f *fixture) (*http.Response, string))) {
	t.Helper()
	for name, header := range keys {
		for _, body := range []string{"", "x"} {
			for _, replicas := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s, %d bytes, %d replicas", name, len(body), replicas), func(t *testing.T) {
					t.Parallel()
					test(t, replicas, name == "Idempotency-Key", func(f *fixture) (*http.Response, string) {
						return f.call(t, http.MethodPost, "/orders", strings.NewReader(body), header...)
					})
				})
			}
		}
	}
}

// Once a request was sent, it may have been processed, whatever happens to a retry. A POST
// is retried only if it has a key that the services accept.
func TestReplicaCrashesAfterPostWasSent(t *testing.T) {
	t.Parallel()
	forEachPost(t, func(t *testing.T, replicas int, keyed bool, post func(*fixture) (*http.Response, string)) {
		all, executed := serveFaulty(t, replicas, crash)
		f := startFaulty(t, all)
		f.warm(t, all)
		resp, body := post(f)
		if keyed && replicas == 2 {
			require.Equal(t, http.StatusCreated, resp.StatusCode, body)
			require.EqualValues(t, 2, executed.Load())
			require.Equal(t, 1, f.retries(t))
			return
		}
		require.Equal(t, http.StatusBadGateway, resp.StatusCode, body)
		require.Contains(t, body, "/problems/outcome-unknown")
		require.EqualValues(t, 1, executed.Load())
		if keyed {
			require.Equal(t, 1, f.retries(t))
		} else {
			require.Zero(t, f.retries(t))
		}
	})
}

func TestReplicaCrashesBeforePostIsSent(t *testing.T) {
	t.Parallel()
	forEachPost(t, func(t *testing.T, replicas int, _ bool, post func(*fixture) (*http.Response, string)) {
		all, executed := serveFaulty(t, replicas, func(*faultyBackend, http.ResponseWriter) {})
		f := startFaulty(t, all)
		f.warm(t, all)
		all[0].reset(t)
		all[0].stop()
		resp, body := post(f)
		require.EqualValues(t, replicas-1, executed.Load())
		if replicas == 2 {
			require.Equal(t, http.StatusOK, resp.StatusCode, body)
			return
		}
		require.Equal(t, http.StatusBadGateway, resp.StatusCode, body)
		require.Contains(t, body, "/problems/upstream-unavailable")
	})
}

// A service may close an idle connection at any time. A request that was about to use it is
// sent on another connection.
func TestPostRetriesAfterIdleConnectionWasClosed(t *testing.T) {
	t.Parallel()
	forEachPost(t, func(t *testing.T, replicas int, _ bool, post func(*fixture) (*http.Response, string)) {
		all, executed := serveFaulty(t, replicas, func(*faultyBackend, http.ResponseWriter) {})
		f := startFaulty(t, all)
		const rounds = 20
		for range rounds {
			f.warm(t, all)
			for _, s := range all {
				s.reset(t)
			}
			resp, body := post(f)
			require.Equal(t, http.StatusOK, resp.StatusCode, body)
		}
		require.EqualValues(t, rounds, executed.Load())
	})
}

// failOnce closes the connection of the first request and responds to the others with
// status.
func failOnce(status int) func(*faultyBackend, http.ResponseWriter) {
	return func(s *faultyBackend, w http.ResponseWriter) {
		if s.executed.Load() == 1 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "second")
	}
}

// The response to a retry is forwarded, except a 503: it promises that nothing was done,
// which may be false for the first attempt.
func TestResponseToRetry(t *testing.T) {
	t.Parallel()
	for status, forwarded := range map[int]bool{
		http.StatusCreated: true, http.StatusConflict: true, http.StatusUnprocessableEntity: true,
		http.StatusInternalServerError: true, http.StatusServiceUnavailable: false, http.StatusGatewayTimeout: true,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			all, executed := serveFaulty(t, 1, failOnce(status))
			f := startFaulty(t, all)
			f.warm(t, all)
			resp, body := f.call(t, http.MethodPost, "/orders", strings.NewReader("x"), "Idempotency-Key", "k")
			require.EqualValues(t, 2, executed.Load())
			require.Equal(t, 1, f.retries(t))
			if forwarded {
				require.Equal(t, status, resp.StatusCode)
				require.Equal(t, "second", body)
				return
			}
			require.Equal(t, http.StatusBadGateway, resp.StatusCode)
			require.Contains(t, body, "/problems/outcome-unknown")
		})
	}
}

// Only a single, valid Idempotency-Key on a POST makes a request retryable.
func TestRequestsThatAreNeverRetried(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method string
		header http.Header
	}{
		"two keys":          {http.MethodPost, http.Header{"Idempotency-Key": {"a", "b"}}},
		"empty key":         {http.MethodPost, http.Header{"Idempotency-Key": {""}}},
		"blank key":         {http.MethodPost, http.Header{"Idempotency-Key": {"  "}}},
		"DELETE":            {http.MethodDelete, http.Header{"Idempotency-Key": {"a"}}},
		"key is hop-by-hop": {http.MethodPost, http.Header{"Idempotency-Key": {"a"}, "Connection": {"Idempotency-Key"}}},
		"other headers":     {http.MethodPost, http.Header{"X-Idempotency-Key": {"a"}, "X-Request-Id": {"a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, executed := serveFaulty(t, 2, failOnce(http.StatusCreated))
			f := startFaulty(t, all)
			f.warm(t, all)
			req, err := http.NewRequestWithContext(t.Context(), tc.method, f.url+"/orders", http.NoBody)
			require.NoError(t, err)
			req.Header = tc.header
			client := &http.Transport{DisableKeepAlives: true} // otherwise the client would retry by itself
			resp, err := client.RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusBadGateway, resp.StatusCode)
			require.EqualValues(t, 1, executed.Load())
			require.Zero(t, f.retries(t))
		})
	}
}

// A read is retried once, and the retry is counted: net/http does not retry on its own.
func TestReadIsRetriedOnce(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			broken := new(atomic.Bool)
			b := serveAt(t, "127.0.0.1:0", func(http.ResponseWriter, *http.Request) {
				if broken.Load() {
					panic(http.ErrAbortHandler)
				}
			})
			f := start(t, time.Minute, b)
			f.call(t, http.MethodGet, "/orders", http.NoBody)
			broken.Store(true)
			resp, _ := f.call(t, method, "/orders", http.NoBody)
			require.Equal(t, http.StatusBadGateway, resp.StatusCode)
			require.EqualValues(t, 3, b.hits.Load())
			require.Equal(t, 1, f.retries(t))
		})
	}
}

// Every attempt sends the same bytes, and the request of the client does not change.
func TestBalancerDoesNotModifyTheRequest(t *testing.T) {
	t.Parallel()
	all, executed := serveFaulty(t, 2, failOnce(http.StatusCreated))
	f := startFaulty(t, all)
	b := &balancer{upstream: f.up, metrics: f.up.metrics}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://orders/orders", strings.NewReader("x"))
	require.NoError(t, err)
	req.Header.Set("Idempotency-Key", "k")
	body, before := req.Body, req.Clone(t.Context())
	out := newOutgoing(nil, req, []byte("x"))
	out.Timeout = time.Minute
	wire := bytes.Clone(out.Wire)
	resp, _, err := b.send(t.Context(), out)
	require.NoError(t, err)
	defer resp.Close()
	require.Equal(t, http.StatusCreated, resp.StatusCode)
	require.EqualValues(t, 2, executed.Load())
	require.Equal(t, wire, out.Wire)
	require.Equal(t, before.URL, req.URL)
	require.Equal(t, before.Header, req.Header)
	require.Equal(t, body, req.Body)
	require.NotNil(t, req.GetBody)
}
