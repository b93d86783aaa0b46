package servicetest

import (
	"bufio"
	"context"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Event is one Server-Sent Event. One without data only tells its id.
type Event struct{ Type, ID, Data string }

// Stream is an open stream of Server-Sent Events.
type Stream struct {
	events chan Event
	close  context.CancelFunc
}

// OpenStream follows the stream at url, from the event with the id lastID on if that is
// not empty, until the test or Close ends it.
func OpenStream(t testing.TB, url, lastID string) *Stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := http.DefaultTransport.RoundTrip(req) //nolint:bodyclose // the reader closes it
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	s := &Stream{events: make(chan Event, 1024), close: cancel}
	go func() {
		defer close(s.events)
		defer resp.Body.Close()
		for e := range ReadEvents(resp.Body) {
			s.events <- e
		}
	}()
	return s
}

// ReadEvents reads the events of a stream that came whole, until it ends.
func ReadEvents(r io.Reader) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		var e Event
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case lines.Text() == "":
				if e != (Event{}) && !yield(e) {
					return
				}
				e = Event{}
			case name == "event":
				e.Type = value
			case name == "id":
				e.ID = value
			case name == "data":
				e.Data = value
			}
		}
	}
}

// Next waits for the next event; ok is false when the stream has ended.
func (s *Stream) Next(t testing.TB) (e Event, ok bool) {
	t.Helper()
	select {
	case e, ok = <-s.events:
		return e, ok
	case <-time.After(Patience):
		require.Fail(t, "the stream is silent")
		return Event{}, false
	}
}

// Ended requires that the stream ends, whatever it may still tell.
func (s *Stream) Ended(t testing.TB) {
	t.Helper()
	for {
		if _, ok := s.Next(t); !ok {
			return
		}
	}
}

// Close ends the stream from the client's side.
func (s *Stream) Close() { s.close() }
