package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"gozon/gateway/internal/http1"
	"gozon/shared/service"
	"gozon/shared/web/problem"
)

// streams forwards event streams. They stay open for hours and most of them are idle, so a
// stream takes over the connection to its client: the buffers and deep stacks of the HTTP
// server would multiply its memory. The request is logged and measured when its stream
// starts.
type streams struct {
	log       *slog.Logger
	limited   *service.Limited
	max       int
	perClient int // 0 if there is no such limit

	mu     sync.Mutex
	open   map[*stream]struct{}
	of     map[string]int // number of open streams by client
	ending bool
	closed *sync.Cond // a stream was removed from open
}

// newStreams returns streams of which at most limit are open at a time, and at most perClient
// of one client, if that is not 0.
func newStreams(limit, perClient int, log *slog.Logger, limited *service.Limited) *streams {
	s := &streams{log: log, limited: limited, max: limit, perClient: perClient, open: map[*stream]struct{}{}, of: map[string]int{}}
	s.closed = sync.NewCond(&s.mu)
	return s
}

// goneEvery is how soon the end of a client's connection is noticed.
const goneEvery = time.Second

// run ends the streams of clients that have disconnected, and all streams when done is
// closed. Their clients reconnect elsewhere, and shutdown does not wait for them. run returns
// when ctx is done and no stream is left.
func (s *streams) run(ctx context.Context, done <-chan struct{}) error {
	tick := time.NewTicker(goneEvery)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-tick.C:
			s.endGone()
		case <-done:
			running = false
		case <-ctx.Done():
			running = false
		}
	}
	s.mu.Lock()
	s.ending = true
	for st := range s.open {
		st.end()
	}
	for len(s.open) > 0 {
		s.closed.Wait()
	}
	s.mu.Unlock()
	<-ctx.Done()
	return nil
}

// endGone ends the streams of clients that have disconnected.
func (s *streams) endGone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.open {
		if st.socket != nil && service.Disconnected(st.socket) {
			st.end()
		}
	}
}

var (
	errTooManyStreams         = errors.New("too many event streams")
	errTooManyStreamsOfClient = errors.New("too many event streams of this client")
)

// add adds st. It reports false, and ends st, if all streams are ending. It fails if there
// are too many, in total or of its client.
func (s *streams) add(st *stream) (added bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ending:
		st.end()
		return false, nil
	case len(s.open) >= s.max:
		return false, errTooManyStreams
	case s.perClient > 0 && s.of[st.of] >= s.perClient:
		return false, errTooManyStreamsOfClient
	}
	s.open[st] = struct{}{}
	s.of[st.of]++
	return true, nil
}

func (s *streams) remove(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, open := s.open[st]; open { // it was not added if all streams are ending
		delete(s.open, st)
		if s.of[st.of]--; s.of[st.of] == 0 {
			delete(s.of, st.of)
		}
	}
	s.closed.Broadcast()
}

// forward sends resp to the client of c, where its status and headers are already set. If
// the stream breaks off, so does the response to the client. If there are too many streams,
// it responds with a problem.
func (s *streams) forward(c *gin.Context, resp *http1.Response) {
	source := resp.Detach()
	if source == nil { // the client has disconnected
		panic(http.ErrAbortHandler)
	}
	st := &stream{of: clientName(c.Request), source: source}
	added, err := s.add(st)
	if err != nil {
		_ = source.Close()
		s.refuse(c, st, err)
		return
	}
	if added && c.Request.ProtoMajor == 1 {
		s.hijack(c, st)
		return
	}
	// A connection of HTTP/2 carries other requests too.
	defer s.remove(st)
	defer source.Close()
	defer context.AfterFunc(c.Request.Context(), func() { _ = source.Close() })()
	st.client = flushingWriter{c.Writer}
	if _, err := st.client.Write(nil); err != nil || !st.copy() {
		panic(http.ErrAbortHandler)
	}
}

func (s *streams) refuse(c *gin.Context, st *stream, err error) {
	if errors.Is(err, errTooManyStreams) {
		problem.Write(c, problem.Unavailable("too many event streams; retry in a moment"))
		return
	}
	const name = "streams"
	s.limited.Add(c.Request.Context(), name, st.of)
	refuse(c, "too many event streams from this address", 1, fmt.Sprintf(`%q;q=%d;qu="concurrent-requests"`, name, s.perClient), fmt.Sprintf("%q;r=0", name))
}

// hijack takes over the connection of c and forwards st on a goroutine of its own.
func (s *streams) hijack(c *gin.Context, st *stream) {
	head := streamHead(c)
	client, _, err := c.Writer.Hijack()
	if err != nil {
		_ = st.source.Close()
		s.remove(st)
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	st.client, st.socket, st.chunked = client, service.RawConn(client), c.Request.ProtoAtLeast(1, 1)
	s.mu.Unlock()
	ctx := service.LogContext(c.Request.Context())
	go func() {
		defer s.remove(st)
		defer s.close(ctx, st, client)
		if st.write(head) == nil && st.copy() && st.chunked {
			_ = st.write([]byte(lastChunk))
		}
	}()
}

// close closes both connections of a stream. It is deferred, to recover from panics: the HTTP
// server recovers only on its own goroutines, and a panic here would end the process and all
// other streams.
func (s *streams) close(ctx context.Context, st *stream, client net.Conn) {
	if cause := recover(); cause != nil {
		s.log.ErrorContext(ctx, "event stream: panic, closing it", "cause", cause, "stack", string(debug.Stack()))
	}
	_ = st.source.Close() // end may have closed it
	_ = client.Close()
}

// streamHead returns the head of the response of c. The end of the connection ends the
// response; in HTTP/1.1, chunks show whether it is complete.
func streamHead(c *gin.Context) []byte {
	h := c.Writer.Header()
	h.Set("Connection", "close")
	if h.Get("Date") == "" {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if c.Request.ProtoAtLeast(1, 1) {
		h.Set("Transfer-Encoding", "chunked")
	}
	status := c.Writer.Status()
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.%d %d %s\r\n", c.Request.ProtoMinor, status, http.StatusText(status))
	_ = h.Write(&b) // never fails
	b.WriteString("\r\n")
	return b.Bytes()
}

// flushingWriter is the writer of a response that is not hijacked.
type flushingWriter struct{ gin.ResponseWriter }

// Write implements io.Writer. It then clears the deadline: HTTP/2 resets a stream at its
// deadline even if nothing is being written.
func (w flushingWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	if err != nil {
		return n, err
	}
	w.Flush()
	return n, w.SetWriteDeadline(time.Time{})
}

// SetWriteDeadline sets the deadline of the writes that follow.
func (w flushingWriter) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(t)
}
