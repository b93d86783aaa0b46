package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
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
func (a *API) events(c *gin.Context) {
	user, limit, ok := listed(c)
	if !ok {
		return
	}
	// An id that is none of ours is as good as no id: the client gets a snapshot.
	last, _ := strconv.ParseInt(c.GetHeader("Last-Event-ID"), 10, 64)
	stream, start, err := a.Live.Follow(c.Request.Context(), user, order.Watermark(last), limit)
	if err != nil {
		a.fail(c, err)
		return
	}
	defer stream.Close()
	c.Header("Content-Type", "text/event-stream")
	c.Header("Cache-Control", "no-store")
	w := writer{c.Writer, http.NewResponseController(c.Writer)}
	// The deadline for reading the request would end the stream.
	if err := w.control.SetReadDeadline(time.Time{}); err != nil {
		a.fail(c, err)
		return
	}
	if w.start(start) != nil {
		return
	}
	for {
		select {
		case b, open := <-stream.Batches:
			if !open || w.batch(b) != nil {
				return
			}
		case <-c.Request.Context().Done():
			return
		case <-a.Stopping:
			return
		}
	}
}

type writer struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (w writer) start(s live.Start) error {
	if s.Resumed {
		return w.batch(s.Batch)
	}
	data, err := json.Marshal(toPage(s.Orders, s.More))
	if err != nil {
		return err
	}
	return w.flush(fmt.Appendf(nil, "retry: 1000\nevent: snapshot\nid: %d\ndata: %s\n\n", s.Mark, data))
}

func (w writer) batch(b live.Batch) error {
	// An event without data tells the id alone.
	frames := fmt.Appendf(nil, "id: %d\n:\n\n", b.Mark)
	if len(b.Orders) > 0 {
		frames = frames[:0]
	}
	for _, o := range b.Orders {
		data, err := json.Marshal(toJSON(o))
		if err != nil {
			return err
		}
		frames = fmt.Appendf(frames, "event: order\nid: %d\ndata: %s\n\n", b.Mark, data)
	}
	return w.flush(frames)
}

func (w writer) flush(frames []byte) error {
	if err := w.control.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	if _, err := w.Write(frames); err != nil {
		return err
	}
	return w.control.Flush()
}
