package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"gozon/orders/internal/live"
	"gozon/orders/internal/order"
)

// writeWithin is how long a client may take to read what it was sent; one that is slower
// is cut off and comes back.
const writeWithin = 10 * time.Second

// events is the stream of a user's orders (Server-Sent Events): a snapshot first, or what
// was missed since Last-Event-ID, then each order as it changes.
//
// The stream takes its connection over from the HTTP server, whose buffers and deep
// stacks would cost an idle stream several times what it costs here. The end of the
// answer is then the end of the connection.
func (a *API) events(c *gin.Context) {
	user, limit, err := listed(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	if c.Request.Method == http.MethodHead { // it asks what GET would begin with, not to follow anything
		c.Header("Content-Type", "text/event-stream")
		c.Header("Cache-Control", "no-store")
		c.Status(http.StatusOK)
		return
	}
	// An id that is none of ours is as good as no id: the client gets a snapshot.
	last, _ := strconv.ParseInt(c.GetHeader("Last-Event-ID"), 10, 64)
	ctx, cancel := context.WithTimeout(c.Request.Context(), answerWithin)
	defer cancel()
	follow, start, err := a.Live.Follow(ctx, user, order.Watermark(last), limit)
	if err != nil {
		a.fail(c, err)
		return
	}
	handedOver := false
	defer func() {
		if !handedOver {
			follow.Close()
		}
	}()
	first, err := startFrames(start)
	if err != nil {
		a.fail(c, err)
		return
	}
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	head := bytes.NewBufferString("HTTP/1.1 200 OK\r\n")
	_ = h.Write(head) // a buffer takes everything
	fmt.Fprintf(head, "\r\n%s", first)
	conn, _, err := c.Writer.Hijack()
	if err != nil {
		a.fail(c, err)
		return
	}
	handedOver = true
	go stream{conn, follow, a.Stopping, a.Log}.run(context.WithoutCancel(c.Request.Context()), head.Bytes())
}

// stream is one client's connection.
type stream struct {
	net.Conn
	follow   *live.Stream
	stopping <-chan struct{}
	log      *slog.Logger
}

func (s stream) run(ctx context.Context, head []byte) {
	defer s.end(ctx)
	go func() { // a client has nothing more to say: whatever is read here is its end
		defer s.end(ctx)
		_, _ = s.Read(make([]byte, 1))
	}()
	if s.send(head) != nil {
		return
	}
	for {
		select {
		case b, open := <-s.follow.Batches:
			if !open {
				return
			}
			frames, err := batchFrames(b)
			if err != nil || s.send(frames) != nil {
				return
			}
		case <-s.stopping:
			return
		}
	}
}

// end is deferred by both goroutines of a stream. The server recovers from panics on its
// own goroutines alone; on these, a panic would end the process, and with it all others'
// streams. It ends this stream, whose client resumes.
func (s stream) end(ctx context.Context) {
	if cause := recover(); cause != nil {
		s.log.ErrorContext(ctx, "panic in an event stream, closing it", "cause", cause, "stack", string(debug.Stack()))
	}
	s.follow.Close()
	_ = s.Close() // by the other goroutine as well
}

func (s stream) send(frames []byte) error {
	if err := s.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	_, err := s.Write(frames)
	return err
}

func startFrames(s live.Start) ([]byte, error) {
	if s.Resumed {
		// Only when it has all that it missed may the client come back with the new mark.
		missed, err := batchFrames(live.Batch{Mark: s.Last, Orders: s.Missed})
		if err != nil {
			return nil, err
		}
		return append(missed, heartbeat(s.Mark)...), nil
	}
	data, err := json.Marshal(toPage(s.Snapshot))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "retry: 1000\nevent: snapshot\nid: %d\ndata: %s\n\n", s.Mark, data), nil
}

// heartbeat is an event without data, which tells its id alone.
func heartbeat(mark order.Watermark) []byte { return fmt.Appendf(nil, "id: %d\n:\n\n", mark) }

func batchFrames(b live.Batch) ([]byte, error) {
	if len(b.Orders) == 0 {
		return heartbeat(b.Mark), nil
	}
	var frames []byte
	for _, o := range b.Orders {
		data, err := json.Marshal(toJSON(o))
		if err != nil {
			return nil, err
		}
		frames = fmt.Appendf(frames, "event: order\nid: %d\ndata: %s\n\n", b.Mark, data)
	}
	return frames, nil
}
