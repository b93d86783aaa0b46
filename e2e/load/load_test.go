package load

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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
