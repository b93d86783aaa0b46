package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"gozon/orders/internal/live"
	"gozon/shared/service"
)

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
	st := newStream(service.LogContext(ctx), a.Log)
	follow, start, err := a.Live.Follow(ctx, user, live.Watermark(last), limit, st)
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
	st.start(conn, head.Bytes(), follow.Close)
	return nil
}

func startFrames(s live.Start) ([]byte, error) {
	if s.Resumed {
		// Only a client that has received all missed orders may resume with the new watermark.
		missed, err := batchFrames(&live.Batch{Watermark: s.Last, Orders: s.Missed})
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

func batchFrames(b *live.Batch) ([]byte, error) {
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
