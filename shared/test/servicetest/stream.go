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

// Event is a Server-Sent Event. An event without data only sets the last event id.
type Event struct{ Type, ID, Data string }

// Stream is an open stream of Server-Sent Events.
type Stream struct {
	events chan Event
	close  context.CancelFunc
}

// OpenStream opens the stream at url and reads it until [Stream.Close] or the end of the
// test. If lastID is not empty, the stream resumes after that event id.
func OpenStream(t testing.TB, url, lastID string) *Stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := http.DefaultTransport.RoundTrip(req) //nolint:bodyclose // closed by the goroutine below
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

// ReadEvents returns an iterator over the complete events of r. It stops at the end of r.
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

// Next waits for the next event. It returns false when the stream has ended, and fails the
// test after [Patience].
func (s *Stream) Next(t testing.TB) (e Event, ok bool) {
	t.Helper()
	select {
	case e, ok = <-s.events:
		return e, ok
	case <-time.After(Patience):
		require.Fail(t, "no event arrived in time")
		return Event{}, false
	}
}

// Ended waits for the end of the stream and discards remaining events.
func (s *Stream) Ended(t testing.TB) {
	t.Helper()
	for {
		if _, ok := s.Next(t); !ok {
			return
		}
	}
}

// Close closes the stream from the client's side.
func (s *Stream) Close() { s.close() }
