package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Change is an event of an event stream: the state of an order that has changed.
type Change struct {
	ID     string
	Status string
	At     time.Time // when the event was received
}

// Stream is an open event stream.
type Stream struct {
	conn *conn
	done chan struct{} // closed when the stream has ended
}

// Follow opens the event stream of a user over a connection of its own. It returns after the
// snapshot has arrived. Then it calls changed for each event, on one goroutine, until the
// stream ends.
func (c *Client) Follow(ctx context.Context, user int, changed func(Change)) (*Stream, error) {
	p, err := dial(ctx, c.base)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Stream, error) {
		_ = p.Close()
		return nil, fmt.Errorf("follow user %d: %w", user, err)
	}
	if _, err := fmt.Fprintf(p, "GET /orders/events?user_id=%d HTTP/1.1\r\nHost: %s\r\n\r\n", user, host); err != nil {
		return fail(err)
	}
	if err := p.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return fail(err)
	}
	resp, err := http.ReadResponse(p.in, nil) //nolint:bodyclose // closed by the goroutine, or with the connection
	if err != nil {
		return fail(err)
	}
	if resp.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("the response is %s", resp.Status))
	}
	lines := bufio.NewReaderSize(resp.Body, 512)
	if _, err := nextData(lines); err != nil { // the snapshot
		return fail(err)
	}
	if err := p.SetReadDeadline(time.Time{}); err != nil {
		return fail(err)
	}
	s := &Stream{p, make(chan struct{})}
	go func() {
		defer close(s.done)
		defer resp.Body.Close()
		for {
			data, err := nextData(lines)
			if err != nil {
				return
			}
			change := Change{At: time.Now()}
			if json.Unmarshal(data, &change) == nil {
				changed(change)
			}
		}
	}()
	return s, nil
}

// nextData returns the data of the next event that has any.
func nextData(lines *bufio.Reader) ([]byte, error) {
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			return data, nil
		}
	}
}

// Ended reports whether the stream has ended.
func (s *Stream) Ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Close ends the stream and waits until its goroutine has returned.
func (s *Stream) Close() error {
	err := s.conn.Close()
	<-s.done
	return err
}
