package load

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A response that is late does not delay the requests after it, and its latency counts from
// the scheduled time.
func TestOpenLoopDoesNotWaitForResponses(t *testing.T) {
	t.Parallel()
	const n = 20
	var mu sync.Mutex
	received, everyone := 0, make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		received++
		if received == n {
			close(everyone)
		}
		mu.Unlock()
		if strings.Contains(string(body), `"user_id":1,`) {
			<-everyone // the response of user 1 waits for the last request
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"id":"of %s"}`, strings.NewReplacer(`"`, "", `{`, "", `}`, "").Replace(string(body)))
	}))
	defer server.Close()
	placed, err := NewClient(server.URL, 1).PlaceAtRate(t.Context(), 1000, n, n)
	require.NoError(t, err)
	require.Len(t, placed, n)
	for i, p := range placed {
		require.Equal(t, fmt.Sprintf("of user_id:%d,item:Book,price:1", i+1), p.ID)
		require.Equal(t, time.Duration(i)*time.Millisecond, p.Intended.Sub(placed[0].Intended))
		require.True(t, p.Accepted.After(p.Intended))
	}
	require.True(t, placed[0].Accepted.After(placed[n-1].Intended))
}

func TestOpenLoopStopsWhenAnOrderIsNotAccepted(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	_, err := NewClient(server.URL, 1).PlaceAtRate(t.Context(), 1000, 1, 5)
	require.ErrorContains(t, err, "order not accepted: 404")
}

func TestFollowReportsChangesAfterTheSnapshot(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/orders/events?user_id=7" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, "retry: 1000\nevent: snapshot\nid: 1\ndata: {\"orders\":[]}\n\n")
		w.(http.Flusher).Flush()
		fmt.Fprint(w, "id: 1\n:\n\nevent: order\nid: 2\ndata: {\"id\":\"a\",\"status\":\"NEW\"}\n\n")
		w.(http.Flusher).Flush()
		fmt.Fprint(w, "event: order\nid: 3\ndata: {\"id\":\"a\",\"status\":\"PAID\"}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	changes := make(chan Change, 10)
	s, err := NewClient(server.URL, 1).Follow(t.Context(), 7, func(c Change) { changes <- c })
	require.NoError(t, err)
	for _, status := range []string{"NEW", "PAID"} {
		c := <-changes
		require.Equal(t, "a", c.ID)
		require.Equal(t, status, c.Status)
		require.WithinDuration(t, time.Now(), c.At, time.Minute)
	}
	require.False(t, s.Ended())
	require.NoError(t, s.Close())
	require.True(t, s.Ended())

	_, err = NewClient(server.URL, 1).Follow(t.Context(), 8, nil)
	require.ErrorContains(t, err, "404")
}

func TestGetForCountsTheResponses(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/orders/1" {
			http.NotFound(w, r)
			return
		}
		served.Add(1)
		fmt.Fprint(w, `{"id":"1"}`)
	}))
	defer server.Close()
	c := NewClient(server.URL, 1)
	n, err := c.GetFor(t.Context(), 4, "/orders/1", 50*time.Millisecond)
	require.NoError(t, err)
	require.Positive(t, n)
	require.EqualValues(t, served.Load(), n)

	_, err = c.GetFor(t.Context(), 1, "/orders/2", time.Second)
	require.ErrorContains(t, err, "404")
}

func TestLatenciesReadsEachResponse(t *testing.T) {
	t.Parallel()
	var paths []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.String())
		fmt.Fprint(w, "ok")
		w.(http.Flusher).Flush() // chunked
	}))
	defer server.Close()
	took, err := NewClient(server.URL, 1).Latencies(t.Context(), 3, func(i int) string { return fmt.Sprint("/", i) })
	require.NoError(t, err)
	require.Equal(t, []string{"/0", "/1", "/2"}, paths)
	require.Len(t, took, 3)
	for _, s := range took {
		require.Positive(t, s)
	}
}

func TestUsersTakeTurns(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	orders := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		orders[string(body)]++
		mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"id":"x"}`)
	}))
	defer server.Close()
	var placed Orders
	require.NoError(t, NewClient(server.URL, 1).PlaceInTurn(t.Context(), 4, 3, 9, &placed))
	require.Len(t, placed.Accepted(), 9)
	require.Equal(t, map[string]int{string(orderOf(1)): 3, string(orderOf(2)): 3, string(orderOf(3)): 3}, orders)
}
