package broker

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	dialTimeout  = 3 * time.Second
	writeTimeout = 10 * time.Second
	heartbeat    = 5 * time.Second
)

// socket is a network connection with features that the AMQP client lacks. Every write has
// a deadline, because a broker under a memory alarm stops reading. onClose is called when
// the socket is closed. While the socket is corked, writes are buffered, so that a batch of
// messages does not cost a packet and a wake-up of the broker for each message.
type socket struct {
	net.Conn
	onClose func()

	mu       sync.Mutex
	corked   bool
	deadline time.Time // of corked writes, if earlier than writeTimeout allows; none if zero
	buf      []byte
}

// maxCorked is the number of buffered bytes at which a corked socket writes them.
const maxCorked = 64 << 10

func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.corked {
		return s.write(b)
	}
	s.buf = append(s.buf, b...)
	if len(s.buf) >= maxCorked {
		return len(b), s.flush()
	}
	return len(b), nil
}

func (s *socket) cork() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corked = true
}

// corkUntil corks the socket. Corked writes use ctx's deadline if it is earlier than theirs.
func (s *socket) corkUntil(ctx context.Context) {
	s.cork()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline, _ = ctx.Deadline()
}

func (s *socket) uncork() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corked = false
	err := s.flush()
	s.deadline = time.Time{}
	return err
}

func (s *socket) flush() error {
	_, err := s.write(s.buf)
	s.buf = s.buf[:0]
	return err
}

func (s *socket) write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	deadline := time.Now().Add(writeTimeout)
	if !s.deadline.IsZero() && s.deadline.Before(deadline) {
		deadline = s.deadline
	}
	if err := s.SetWriteDeadline(deadline); err != nil {
		return 0, fmt.Errorf("write deadline: %w", err)
	}
	return s.Conn.Write(b)
}

// Close closes the connection. The client library calls it on every path that ends a
// connection.
func (s *socket) Close() error {
	s.onClose()
	return s.Conn.Close()
}
