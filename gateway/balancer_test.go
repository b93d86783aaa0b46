package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dies breaks off like a process that is killed after it executed the request, unless
// the other replica did before: that one answers.
func dies(s *shaky, w http.ResponseWriter) {
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

// posts runs test for each kind of POST: with a body and without, with and without a
// header that net/http takes for a permission to repeat it, with one and two replicas.
func posts(t *testing.T, test func(t *testing.T, replicas int, keyed bool, post func(g *gateway) (*http.Response, string))) {
	t.Helper()
	for name, header := range keys {
		for _, body := range []string{"", "x"} {
			for _, replicas := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s, %d bytes, %d replicas", name, len(body), replicas), func(t *testing.T) {
					t.Parallel()
					test(t, replicas, name == "Idempotency-Key", func(g *gateway) (*http.Response, string) {
						return g.call(t, http.MethodPost, "/orders", strings.NewReader(body), header...)
					})
				})
			}
		}
	}
}

// Whatever became of the second attempt, a request that was sent may have been done. Only
// a key that the services honour makes a POST go out twice.
func TestPostWhoseReplicaDiesAfterItWasSent(t *testing.T) {
	t.Parallel()
	posts(t, func(t *testing.T, replicas int, keyed bool, post func(*gateway) (*http.Response, string)) {
		all, executed := serveShaky(t, replicas, dies)
		g := startShaky(t, all)
		g.warm(t, all)
		resp, body := post(g)
		if keyed && replicas == 2 {
			require.Equal(t, http.StatusCreated, resp.StatusCode, body)
			require.EqualValues(t, 2, executed.Load())
			require.Equal(t, 1, g.retries(t))
			return
		}
		require.Equal(t, http.StatusBadGateway, resp.StatusCode, body)
		require.Contains(t, body, "/problems/outcome-unknown")
		require.EqualValues(t, 1, executed.Load())
		if keyed {
			require.Equal(t, 1, g.retries(t))
		} else {
			require.Zero(t, g.retries(t))
		}
	})
}

func TestPostWhoseReplicaDiesBeforeItIsSent(t *testing.T) {
	t.Parallel()
	posts(t, func(t *testing.T, replicas int, _ bool, post func(*gateway) (*http.Response, string)) {
		all, executed := serveShaky(t, replicas, func(*shaky, http.ResponseWriter) {})
		g := startShaky(t, all)
		g.warm(t, all)
		all[0].reset(t)
		all[0].stop()
		resp, body := post(g)
		require.EqualValues(t, replicas-1, executed.Load())
		if replicas == 2 {
			require.Equal(t, http.StatusOK, resp.StatusCode, body)
			return
		}
		require.Equal(t, http.StatusBadGateway, resp.StatusCode, body)
		require.Contains(t, body, "/problems/upstream-unavailable")
	})
}

// A service closes idle connections at any time. The request that was about to use one
// takes another.
func TestPostWhoseIdleConnectionWasClosed(t *testing.T) {
	t.Parallel()
	posts(t, func(t *testing.T, replicas int, _ bool, post func(*gateway) (*http.Response, string)) {
		all, executed := serveShaky(t, replicas, func(*shaky, http.ResponseWriter) {})
		g := startShaky(t, all)
		const rounds = 20
		for range rounds {
			g.warm(t, all)
			for _, s := range all {
				s.reset(t)
			}
			resp, body := post(g)
			require.Equal(t, http.StatusOK, resp.StatusCode, body)
		}
		require.EqualValues(t, rounds, executed.Load())
	})
}

// breaksOnce breaks off the first request and has then answer the second.
func breaksOnce(then int) func(*shaky, http.ResponseWriter) {
	return func(s *shaky, w http.ResponseWriter) {
		if s.executed.Load() == 1 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(then)
		_, _ = io.WriteString(w, "second")
	}
}

// What the second attempt is answered passes, except a 503: it says that nothing was
// done, and knows nothing of the first attempt.
func TestAnswerToTheSecondAttempt(t *testing.T) {
	t.Parallel()
	for status, passes := range map[int]bool{
		http.StatusCreated: true, http.StatusConflict: true, http.StatusUnprocessableEntity: true,
		http.StatusInternalServerError: true, http.StatusServiceUnavailable: false, http.StatusGatewayTimeout: true,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			all, executed := serveShaky(t, 1, breaksOnce(status)) // the replica is there again at once
			g := startShaky(t, all)
			g.warm(t, all)
			resp, body := g.call(t, http.MethodPost, "/orders", strings.NewReader("x"), "Idempotency-Key", "k")
			require.EqualValues(t, 2, executed.Load())
			require.Equal(t, 1, g.retries(t))
			if passes {
				require.Equal(t, status, resp.StatusCode)
				require.Equal(t, "second", body)
				return
			}
			require.Equal(t, http.StatusBadGateway, resp.StatusCode)
			require.Contains(t, body, "/problems/outcome-unknown")
		})
	}
}

// A key that the services refuse, or that is none, makes nothing repeatable.
func TestWhatIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method string
		header http.Header
	}{
		"two keys":    {http.MethodPost, http.Header{"Idempotency-Key": {"a", "b"}}},
		"an empty":    {http.MethodPost, http.Header{"Idempotency-Key": {""}}},
		"blanks":      {http.MethodPost, http.Header{"Idempotency-Key": {"  "}}},
		"a DELETE":    {http.MethodDelete, http.Header{"Idempotency-Key": {"a"}}},
		"hop by hop":  {http.MethodPost, http.Header{"Idempotency-Key": {"a"}, "Connection": {"Idempotency-Key"}}},
		"both others": {http.MethodPost, http.Header{"X-Idempotency-Key": {"a"}, "X-Request-Id": {"a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, executed := serveShaky(t, 2, breaksOnce(http.StatusCreated))
			g := startShaky(t, all)
			g.warm(t, all)
			req, err := http.NewRequestWithContext(t.Context(), tc.method, g.url+"/orders", http.NoBody)
			require.NoError(t, err)
			req.Header = tc.header
			client := &http.Transport{DisableKeepAlives: true} // it would repeat the request itself
			resp, err := client.RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusBadGateway, resp.StatusCode)
			require.EqualValues(t, 1, executed.Load())
			require.Zero(t, g.retries(t))
		})
	}
}

// A read is sent once more, and that is counted: net/http adds nothing of its own.
func TestReadThatBreaksOffIsSentTwice(t *testing.T) {
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
			g := start(t, time.Minute, b)
			g.call(t, http.MethodGet, "/orders", http.NoBody)
			broken.Store(true)
			resp, _ := g.call(t, method, "/orders", http.NoBody)
			require.Equal(t, http.StatusBadGateway, resp.StatusCode)
			require.EqualValues(t, 3, b.hits.Load())
			require.Equal(t, 1, g.retries(t))
		})
	}
}

// The balancer does what http.RoundTripper asks for: the request stays as it was.
func TestBalancerLeavesTheRequestAsItIs(t *testing.T) {
	t.Parallel()
	all, _ := serveShaky(t, 2, breaksOnce(http.StatusCreated))
	g := startShaky(t, all)
	b := &balancer{upstream: g.up, metrics: g.up.metrics, next: &http.Transport{DialContext: dial}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://orders/orders", strings.NewReader("x"))
	require.NoError(t, err)
	req.Header.Set("Idempotency-Key", "k")
	body, before := req.Body, req.Clone(t.Context())
	resp, err := b.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusCreated, resp.StatusCode)
	require.Equal(t, before.URL, req.URL)
	require.Equal(t, before.Header, req.Header)
	require.Equal(t, body, req.Body)
	require.NotNil(t, req.GetBody)
}
