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
)

// writeTimeout is how long a write may wait for the client to read. A slower client is
// disconnected. It can reconnect and resume.
const writeTimeout = 10 * time.Second

// events is the stream of a user's orders (Server-Sent Events). It starts with a snapshot,
// or with the changes since Last-Event-ID, and continues with each order that changes.
//
// The stream hijacks its connection, because the buffers and deep stacks of the HTTP server
// would multiply the memory of an idle stream. The response ends with the connection.
func (a API) events(ctx context.Context, c *gin.Context) error {
	user, limit, err := pageQuery(c)
	if err != nil {
		return err
	}
	if c.Request.Method == http.MethodHead {
		c.Header("Content-Type", "text/event-stream")
		c.Header("Cache-Control", "no-store")
		c.Status(http.StatusOK)
		return nil
	}
	// Without a valid id, the client gets a snapshot.
	last, _ := strconv.ParseInt(c.GetHeader("Last-Event-ID"), 10, 64)
	follow, start, err := a.Live.Follow(ctx, user, live.Watermark(last), limit)
	if err != nil {
		return err
	}
	hijacked := false
	defer func() {
		if !hijacked {
			follow.Close()
		}
	}()
	first, err := startFrames(start)
	if err != nil {
		return err
	}
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	head := bytes.NewBufferString("HTTP/1.1 200 OK\r\n")
	_ = h.Write(head) // never fails
	fmt.Fprintf(head, "\r\n%s", first)
	conn, _, err := c.Writer.Hijack()
	if err != nil {
		return err
	}
	hijacked = true
	go stream{conn, follow, a.Shutdown, a.Log}.run(context.WithoutCancel(ctx), head.Bytes())
	return nil
}

// stream is the connection of one client.
type stream struct {
	net.Conn
	follow   *live.Stream
	shutdown <-chan struct{}
	log      *slog.Logger
}

func (s stream) run(ctx context.Context, head []byte) {
	defer s.end(ctx)
	go func() { // the client sends nothing more, so this read returns when it disconnects
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
		case <-s.shutdown:
			return
		}
	}
}

// end closes the stream; the client reconnects and resumes. Both goroutines of a stream
// defer it to recover from panics: the HTTP server recovers only on its own goroutines, and
// a panic here would end the process and all other streams.
func (s stream) end(ctx context.Context) {
	if cause := recover(); cause != nil {
		s.log.ErrorContext(ctx, "event stream: panic, closing it", "cause", cause, "stack", string(debug.Stack()))
	}
	s.follow.Close()
	_ = s.Close() // the other goroutine may have closed it
}

func (s stream) send(frames []byte) error {
	if err := s.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := s.Write(frames)
	return err
}

func startFrames(s live.Start) ([]byte, error) {
	if s.Resumed {
		// Only a client that has received all missed orders may resume with the new watermark.
		missed, err := batchFrames(live.Batch{Watermark: s.Last, Orders: s.Missed})
		if err != nil {
			return nil, err
		}
		return append(missed, heartbeat(s.Watermark)...), nil
	}
	data, err := json.Marshal(toPage(s.Page))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "retry: 1000\nevent: snapshot\nid: %d\ndata: %s\n\n", s.Watermark, data), nil
}

// heartbeat returns an event without data, which only updates the client's last event id.
func heartbeat(w live.Watermark) []byte { return fmt.Appendf(nil, "id: %d\n:\n\n", w) }

func batchFrames(b live.Batch) ([]byte, error) {
	if len(b.Orders) == 0 {
		return heartbeat(b.Watermark), nil
	}
	var frames []byte
	for _, r := range b.Orders {
		data, err := json.Marshal(toJSON(r.Order))
		if err != nil {
			return nil, err
		}
		frames = fmt.Appendf(frames, "event: order\nid: %d\ndata: %s\n\n", b.Watermark, data)
	}
	return frames, nil
}
