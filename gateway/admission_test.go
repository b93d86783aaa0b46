package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stuck is a service that responds to a request once it is released.
type stuck struct {
	*backend
	arrived chan struct{} // receives once for each request
	release chan struct{}
}

func serveStuck(t *testing.T) *stuck {
	t.Helper()
	s := &stuck{arrived: make(chan struct{}), release: make(chan struct{})}
	s.backend = serveAt(t, "127.0.0.1:0", func(http.ResponseWriter, *http.Request) {
		s.arrived <- struct{}{}
		<-s.release
	})
	return s
}

// Requests above the limit are refused at once and are not sent to the service. The kinds of
// requests do not take each other's share.
func TestRequestsInFlightAreLimited(t *testing.T) {
	t.Parallel()
	const limit, refused, kinds = 2, 20, 3
	s := serveStuck(t)
	f := startLimited(t, discard, limit, time.Minute, s.backend)
	done := make(chan error, kinds*limit)
	for _, kind := range [kinds][2]string{{http.MethodPost, "/orders/"}, {http.MethodPost, "/orders/1/cancel"}, {http.MethodGet, "/orders"}} {
		method, path := kind[0], kind[1]
		for range limit {
			go func() { done <- f.expect(method, path, http.StatusOK) }()
			<-s.arrived
		}
		for range refused {
			resp, body := f.call(t, method, path, strings.NewReader("x"), "Idempotency-Key", "k")
			require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, body)
			require.Equal(t, "1", resp.Header.Get("Retry-After"))
			require.Contains(t, body, "/problems/unavailable")
			require.Contains(t, body, "nothing was done")
		}
	}
	close(s.release)
	for range kinds * limit {
		require.NoError(t, <-done)
	}
	require.EqualValues(t, kinds*limit, s.hits.Load())

	go func() { <-s.arrived }()
	require.NoError(t, f.expect(http.MethodPost, "/orders", http.StatusOK), "the share is free again")
}

// The 503 of a replica is forwarded. No other replica is asked, whether or not the request has
// a key: what one of them refuses would only add to the load of the others.
func TestRefusalIsNotRetried(t *testing.T) {
	t.Parallel()
	for _, header := range [][]string{nil, {"Idempotency-Key", "k"}} {
		all := []*backend{}
		for i := range 2 {
			addr := fmt.Sprintf("127.0.0.%d:0", i+1)
			if i > 0 {
				addr = fmt.Sprintf("127.0.0.%d:%d", i+1, all[0].addr.Port())
			}
			all = append(all, serveAt(t, addr, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
		}
		f := start(t, time.Minute, all...)
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			before := all[0].hits.Load() + all[1].hits.Load()
			resp, _ := f.call(t, method, "/orders", http.NoBody, header...)
			require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
			require.Equal(t, "7", resp.Header.Get("Retry-After"))
			require.EqualValues(t, 1, all[0].hits.Load()+all[1].hits.Load()-before)
		}
		require.Zero(t, f.retries(t))
	}
}

// A stream is not in flight once it is open.
func TestOpenStreamsAreNotInFlight(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	f := startLimited(t, discard, 1, time.Minute, serveAt(t, "127.0.0.1:0", events(release, nil)))
	for range 3 {
		follow(t, f.url)
		f.awaitFreeRead(t)
	}
}

// awaitFreeRead waits until a read is admitted.
func (f *fixture) awaitFreeRead(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !f.admission.shares[kindRead].Enter(); <-tick.C {
		require.True(t, time.Now().Before(deadline), "an open stream is in flight")
	}
	f.admission.shares[kindRead].Leave()
}

var errStatus = errors.New("unexpected status")

// expect sends a request on any goroutine.
func (f *fixture) expect(method, path string, status int) error {
	req, err := http.NewRequest(method, f.url+path, http.NoBody) //nolint:noctx // it ends with the service
	if err != nil {
		return err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != status {
		err = fmt.Errorf("%w: %s", errStatus, resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}
