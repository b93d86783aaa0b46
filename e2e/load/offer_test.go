package load

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOfferRecordsEveryOutcome(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch i := n.Add(1); i % 4 {
		case 0:
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"id":"%d"}`, i)
		case 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"status":503,"detail":"busy","request_id":"1"}`)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	var placed Orders
	offered := NewClient(server.URL, 1).Offer(t.Context(), 50, 5, 1000, 200*time.Millisecond, &placed)
	require.Len(t, offered.Requests, 200-offered.Unsent)
	counts := map[string]int{}
	for _, o := range offered.Requests {
		require.False(t, o.Sent.Before(o.Intended))
		require.True(t, o.Answered.After(o.Sent))
		counts[fmt.Sprintf("%d %t %t %s", o.Status, o.RetryAfter, o.Err == nil, o.Detail)]++
	}
	require.Len(t, counts, 4, counts)
	require.Len(t, placed.Accepted(), counts["201 false true "])
	for _, outcome := range []string{"201 false true ", "503 true true busy", "503 false true ", "0 false false "} {
		require.InDelta(t, len(offered.Requests)/4, counts[outcome], 1, outcome)
	}
}

// Requests for which there is no connection are counted, not sent later.
func TestOfferDoesNotWaitForConnections(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	timer := time.AfterFunc(300*time.Millisecond, func() { close(release) })
	defer timer.Stop()
	offered := NewClient(server.URL, 1).Offer(t.Context(), 3, 5, 100, 200*time.Millisecond, &Orders{})
	require.Len(t, offered.Requests, 3)
	require.Equal(t, 17, offered.Unsent)
}
