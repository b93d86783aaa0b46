package http1

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	dialTimeout = 2 * time.Second
	maxIdle     = 512 // connections
)

// keepAlive detects a replica on an unreachable machine within 30 seconds. If only the
// process crashed, its kernel closes the connection at once.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Pool keeps the idle connections to one address. It is safe for concurrent use.
type Pool struct {
	addr string

	mu     sync.Mutex
	idle   []*conn // the most recently used last
	closed bool
}

// NewPool returns a pool of connections to addr, a host and a port.
func NewPool(addr string) *Pool { return &Pool{addr: addr} }

// Request is a request in wire format.
type Request struct {
	Method  string
	Wire    []byte        // head and body; not modified
	Timeout time.Duration // limits the time until the head of the response has arrived
	// Informational, if not nil, is called for each 1xx response except 100 and 101.
	Informational func(Informational)
}

// Error is the error of [Pool.Do].
type Error struct {
	Err  error
	Sent bool // at least one byte was sent: the service may have processed the request
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause. It is a timeout (see [net.Error]) if Timeout has passed.
func (e *Error) Unwrap() error { return e.Err }

// Do sends r and returns its response once the head has arrived. The caller must read the
// response until io.EOF or close it. The error is an [*Error]. If ctx ends before the
// response was read, the connection is closed, so that the service can stop working.
func (p *Pool) Do(ctx context.Context, r Request) (*Response, error) {
	for {
		c, reused, err := p.get(ctx)
		if err != nil {
			return nil, &Error{Err: err}
		}
		resp, sent, err := c.exchange(ctx, &r)
		if err == nil {
			return resp, nil
		}
		// The service may close an idle connection at any time, also after it was taken
		// from the pool. Each attempt uses up one connection, so the loop terminates.
		if sent || !reused || ctx.Err() != nil {
			return nil, &Error{err, sent}
		}
	}
}

// CloseIdle closes the connections that have been idle for longer than d or that the
// service has closed.
func (p *Pool) CloseIdle(d time.Duration) {
	oldest := time.Now().Add(-d)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		expired := c.idleSince.Before(oldest) || !c.alive()
		if expired {
			_ = c.Close()
		}
		return expired
	})
}

// Close closes the idle connections, and each other connection once its response was read.
// The pool can still be used.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.CloseIdle(0)
}

// get returns an idle connection if there is one that the service has not closed, and
// otherwise a new one.
func (p *Pool) get(ctx context.Context) (c *conn, reused bool, err error) {
	for {
		p.mu.Lock()
		n := len(p.idle) - 1
		if n < 0 {
			p.mu.Unlock()
			break
		}
		c, p.idle[n] = p.idle[n], nil
		p.idle = p.idle[:n]
		p.mu.Unlock()
		if c.alive() {
			return c, true, nil
		}
		_ = c.Close()
	}
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	dialed, err := (&net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepAlive}).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, false, err
	}
	tcp, ok := dialed.(*net.TCPConn)
	if !ok {
		return nil, false, errors.Join(errors.ErrUnsupported, dialed.Close())
	}
	c, err = newConn(tcp, p)
	return c, false, err
}

// put makes c available to other requests.
func (p *Pool) put(c *conn) {
	c.idleSince = time.Now()
	p.mu.Lock()
	full := p.closed || len(p.idle) >= maxIdle
	if !full {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if full {
		_ = c.Close()
	}
}
