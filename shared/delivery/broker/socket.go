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

// socket is a connection whose writes have a deadline, which AMQP clients lack
// (a broker under a memory alarm stops reading), which tells when it is closed, and
// which can be corked: what is written meanwhile goes out in one piece, so that a
// batch of messages does not cost a packet and a wake-up of the broker for each.
type socket struct {
	net.Conn
	closed func()

	mu     sync.Mutex
	corked bool
	until  time.Time // the deadline of what is written until it is uncorked; none if zero
	held   []byte
}

// corkMax is how much is held before it goes out all the same, in bytes.
const corkMax = 64 << 10

func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.corked {
		return s.write(b)
	}
	s.held = append(s.held, b...)
	if len(s.held) >= corkMax {
		return len(b), s.flush()
	}
	return len(b), nil
}

func (s *socket) cork() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corked = true
}

// corkUntil corks; what is written meanwhile has ctx's deadline, if that is the earlier.
func (s *socket) corkUntil(ctx context.Context) {
	s.cork()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until, _ = ctx.Deadline()
}

func (s *socket) uncork() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corked = false
	err := s.flush()
	s.until = time.Time{}
	return err
}

func (s *socket) flush() error {
	_, err := s.write(s.held)
	s.held = s.held[:0]
	return err
}

func (s *socket) write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	deadline := time.Now().Add(writeTimeout)
	if !s.until.IsZero() && s.until.Before(deadline) {
		deadline = s.until
	}
	if err := s.SetWriteDeadline(deadline); err != nil {
		return 0, fmt.Errorf("write deadline: %w", err)
	}
	return s.Conn.Write(b)
}

// Close is called by the client library on every way in which a connection ends.
func (s *socket) Close() error {
	s.closed()
	return s.Conn.Close()
}
