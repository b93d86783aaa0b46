package main

import (
	"context"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

const dialTimeout = 2 * time.Second

// keepAlive detects a replica on an unreachable machine within 30 seconds. If only the
// process crashed, its kernel closes the connection at once.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// attempt records what happened during one attempt to send a request.
type attempt struct {
	sent   atomic.Bool // at least one byte was written to the connection
	reused bool        // the connection was taken from the idle pool
}

func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	a.reused = info.Reused
	if c, ok := info.Conn.(*conn); ok {
		c.attempt.Store(a)
	}
}

// conn records in its current attempt whether anything was sent. httptrace cannot detect
// that: it reports writes to a buffer.
type conn struct {
	net.Conn
	attempt atomic.Pointer[attempt]
}

// dial implements [http.Transport.DialContext]. It returns a [conn].
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepAlive}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// Write implements io.Writer. The transport waits for Write to return before it reports
// a failure, so the attempt is up to date by then.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if a := c.attempt.Load(); n > 0 && a != nil {
		a.sent.Store(true)
	}
	return n, err
}
