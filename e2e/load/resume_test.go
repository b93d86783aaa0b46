package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestResuming ends a stream three times: it resumes, starts again with a snapshot, and is
// rejected.
func TestResuming(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		if want := map[int64]string{1: "", 2: "7", 3: "8"}; n <= 3 && r.Header.Get("Last-Event-ID") != want[n] {
			n = 4
		}
		switch n {
		case 1:
			fmt.Fprint(w, "retry: 1\nevent: snapshot\nid: 7\ndata: {}\n\n")
		case 2:
			fmt.Fprint(w, "event: order\nid: 7\ndata: {\"id\":\"a\",\"version\":2}\n\nid: 8\n:\n\nevent: order\nid: 9\ndata: cut o")
		case 3:
			fmt.Fprint(w, "event: snapshot\nid: 9\ndata: {}\n\n")
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
			cancel()
		}
	}))
	defer shop.Close()
	var failures Failures
	r := NewClient(shop.URL, 1).FollowResuming(ctx, 1, &failures)
	r.Wait()
	require.EqualValues(t, 4, requests.Load())
	require.EqualValues(t, 3, r.Interrupted.Load())
	require.EqualValues(t, 1, r.Resumed.Load())
	require.EqualValues(t, 2, r.Version("a"))
	require.Zero(t, r.Version("b"))
}

// TestSteadyCountsEachFailure fails every second request in one of two ways.
func TestSteadyCountsEachFailure(t *testing.T) {
	t.Parallel()
	const requests = 40
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var received atomic.Int64
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch n := received.Add(1); {
		case n == requests:
			cancel()
			fallthrough
		case n%4 == 0:
			panic(http.ErrAbortHandler)
		case n%4 == 2:
			w.WriteHeader(http.StatusBadGateway)
		default:
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"id":"%d"}`, n)
		}
	}))
	defer shop.Close()
	var placed Orders
	var failures Failures
	NewClient(shop.URL, 1).PlaceSteadily(ctx, 1, 1, time.Microsecond, &placed, &failures)
	require.GreaterOrEqual(t, failures.Requests.Load(), int64(requests))
	require.Equal(t, failures.Requests.Load(), received.Load(), "a request was repeated")
	require.NotEmpty(t, placed.Accepted())
	require.Len(t, failures.All(), int(failures.Requests.Load())-len(placed.Accepted()))
}
