package main

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// counted is the body of an answer; until it is closed the request is in hand.
type counted struct {
	io.ReadCloser
	replica *replica
	once    sync.Once
}

// Close implements io.Closer.
func (c *counted) Close() error {
	c.once.Do(func() { c.replica.inFlight.Add(-1) })
	return c.ReadCloser.Close()
}

// untilStop is the body of an event stream. It ends when the gateway begins to stop,
// as if the service had ended it: its client reconnects elsewhere, and the stop does
// not wait for an answer that has no end of its own.
type untilStop struct {
	io.ReadCloser
	stopped atomic.Bool
	closed  chan struct{}
	once    sync.Once
}

func endAtStop(body io.ReadCloser, done <-chan struct{}) *untilStop {
	s := &untilStop{ReadCloser: body, closed: make(chan struct{})}
	go func() {
		select {
		case <-done:
			s.stopped.Store(true)
			_ = body.Close() // it ends the read that waits
		case <-s.closed:
		}
	}()
	return s
}

// Read implements io.Reader.
func (s *untilStop) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && s.stopped.Load() {
		err = io.EOF
	}
	return n, err
}

// Close implements io.Closer.
func (s *untilStop) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.ReadCloser.Close()
}

// streamWithin is how long the client of an event stream may take to read what it is sent.
const streamWithin = 10 * time.Second

// impatient cuts off the client of an event stream that does not read: the service has
// cut off its own side by then, and a write without a deadline could wait for ever, and
// a stop of the gateway with it.
type impatient struct{ gin.ResponseWriter }

// Write implements io.Writer.
func (w impatient) Write(b []byte) (int, error) {
	w.hurry()
	return w.ResponseWriter.Write(b)
}

// hurry bounds what is written from now on. A connection that knows no deadline is one
// that is gone.
func (w impatient) hurry() {
	if isStream(w.Header()) {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(streamWithin))
	}
}

// bufferPool implements httputil.BufferPool.
type bufferPool struct{ pool sync.Pool }

// A buffer is held as long as its answer lives, and event streams live for hours:
// 4 KiB hold most answers and cost 5,000 streams 20 MiB, where 32 KiB would cost 160.
const bufferSize = 4 << 10

// Get implements httputil.BufferPool.
func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }
