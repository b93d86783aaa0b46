package main

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// isStream reports whether a response with header h is an event stream. An event stream
// does not end until one side closes it.
func isStream(h http.Header) bool {
	mediaType, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream")
}

// streamBody is the body of an event stream. When the gateway starts to shut down, the
// body returns io.EOF, as if the service had ended the stream: its client reconnects
// elsewhere, and shutdown does not wait for the stream.
type streamBody struct {
	io.ReadCloser
	stopped atomic.Bool
	closed  chan struct{}
	once    sync.Once
}

// newStreamBody returns a body that ends when done is closed.
func newStreamBody(body io.ReadCloser, done <-chan struct{}) *streamBody {
	s := &streamBody{ReadCloser: body, closed: make(chan struct{})}
	go func() {
		select {
		case <-done:
			s.stopped.Store(true)
			_ = body.Close() // unblocks Read
		case <-s.closed:
		}
	}()
	return s
}

// Read implements io.Reader.
func (s *streamBody) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && s.stopped.Load() {
		err = io.EOF
	}
	return n, err
}

// Close implements io.Closer.
func (s *streamBody) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.ReadCloser.Close()
}

// streamWriteTimeout is how long a write to an event stream may wait for the client to read.
const streamWriteTimeout = 10 * time.Second

// streamWriter sets a write deadline if the response is an event stream. Without one, a
// client that stops reading could block a write forever, and with it the shutdown of the
// gateway. The service cannot unblock it: by then it has closed its own connection.
type streamWriter struct{ gin.ResponseWriter }

// Write implements io.Writer.
func (w streamWriter) Write(b []byte) (int, error) {
	w.extendDeadline()
	return w.ResponseWriter.Write(b)
}

// extendDeadline sets the deadline for the writes that follow. The error is ignored:
// setting the deadline fails only if the connection is closed.
func (w streamWriter) extendDeadline() {
	if isStream(w.Header()) {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(streamWriteTimeout))
	}
}
