package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"gozon/orders/internal/live"
	"gozon/shared/delivery/batch"
	"gozon/shared/service"
)

const (
	// writeTimeout is how long a write may wait for the client to read. A slower client is
	// disconnected. It can reconnect and resume.
	writeTimeout = 10 * time.Second
	// pendingBatches is how many batches a client may lag behind while a write waits for it.
	pendingBatches = 16
)

// stream is the connection of a client that follows a user's orders. An idle stream has no
// goroutine. Deliver writes what the socket accepts at once; only the rest takes a goroutine.
type stream struct {
	log *slog.Logger
	ctx context.Context //nolint:containedctx // only for log lines, which are rare

	mu      sync.Mutex
	conn    net.Conn        // nil before start
	closed  func()          // leads to a call of End
	raw     syscall.RawConn // nil if conn has none
	writing bool            // a goroutine writes; batches wait in pending
	pending [][]byte
	ended   bool
}

// newStream returns a stream that keeps its batches until it is started.
func newStream(ctx context.Context, log *slog.Logger) *stream {
	return &stream{log: log, ctx: ctx, writing: true}
}

// start sends head and then the batches to conn. It returns when the client has received what
// there was to send. If the stream fails, it calls closed, which must lead to a call of End.
func (s *stream) start(conn net.Conn, head []byte, closed func()) {
	s.mu.Lock()
	s.conn, s.raw, s.closed = conn, service.RawConn(conn), closed
	s.pending = append([][]byte{head}, s.pending...)
	if s.ended {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.run()
}

// run writes the pending batches.
func (s *stream) run() {
	if s.guard(s.writePending) != nil {
		s.closed()
	}
}

// Deliver implements live.Follower.
func (s *stream) Deliver(b *live.Batch) bool {
	return s.guard(func() error {
		frames, err := b.Encoded(batchFrames)
		if err != nil {
			return err
		}
		return s.send(frames)
	}) == nil
}

var errSlow = errors.New("the client does not keep up")

func (s *stream) send(frames []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing {
		if len(s.pending) >= pendingBatches {
			return errSlow
		}
		s.pending = append(s.pending, frames)
		return nil
	}
	n, err := s.tryWrite(frames)
	if err != nil || n == len(frames) {
		return err
	}
	s.writing, s.pending = true, [][]byte{frames[n:]}
	go s.run()
	return nil
}

// tryWrite writes as much of b as the socket accepts without waiting.
func (s *stream) tryWrite(b []byte) (n int, err error) {
	if s.raw == nil {
		return 0, nil
	}
	if closed := s.raw.Write(func(fd uintptr) bool {
		n, err = syscall.Write(int(fd), b)
		return true
	}); closed != nil {
		return 0, closed
	}
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return 0, nil
	}
	return n, err
}

// writePending writes the pending batches until there are none.
func (s *stream) writePending() error {
	for {
		s.mu.Lock()
		pending := s.pending
		s.pending = nil
		s.writing = len(pending) > 0
		s.mu.Unlock()
		if len(pending) == 0 {
			return nil
		}
		for _, b := range pending {
			if err := s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
				return err
			}
			if _, err := s.conn.Write(b); err != nil {
				return err
			}
		}
		if err := s.conn.SetWriteDeadline(time.Time{}); err != nil { // tryWrite has none
			return err
		}
	}
}

// Gone implements live.Follower.
func (s *stream) Gone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw != nil && service.Disconnected(s.raw)
}

// End implements live.Follower.
func (s *stream) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.conn != nil {
		_ = s.conn.Close() // ends a goroutine that writes
	}
}

// guard calls fn and logs its panic. The goroutines of a stream use it, because a panic there
// would end the process and all other streams, and so does Deliver, whose caller serves all
// other streams. The stream ends; its client reconnects and resumes.
func (s *stream) guard(fn func() error) error {
	err := batch.Guard(fn)
	if errors.Is(err, batch.ErrPanic) {
		s.log.ErrorContext(s.ctx, "event stream: panic, closing it", "error", err)
	}
	return err
}
