package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"syscall"
	"time"
)

// maxHeadBytes limits the heads of the responses to one request, informational ones
// included.
const maxHeadBytes = 64 << 10

var (
	errHeadTooLarge = fmt.Errorf("the heads of the response exceed %d KiB", maxHeadBytes>>10)
	errBadStatus    = errors.New("invalid status of the response")
)

// conn is a connection to a service. One goroutine uses it at a time.
type conn struct {
	*net.TCPConn
	raw       syscall.RawConn
	pool      *Pool
	buffered  *bufio.Reader
	headLeft  int          // how many bytes may be read until the head of the response ends
	request   http.Request // for http.ReadResponse, which only needs the method
	idleSince time.Time
}

func newConn(tcp *net.TCPConn, p *Pool) (*conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	c := &conn{TCPConn: tcp, raw: raw, pool: p}
	c.buffered = bufio.NewReader(limitedConn{c})
	return c, nil
}

// alive reports whether an idle connection can be used: the service has neither closed it
// nor sent anything.
func (c *conn) alive() bool {
	var n int
	var err error
	if c.raw.Control(func(fd uintptr) {
		var b [1]byte
		n, err = syscall.Read(int(fd), b[:])
	}) != nil {
		return false
	}
	return n < 0 && (errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR))
}

// exchange sends r and reads the head of its response. If it fails, it closes the
// connection and reports whether anything was sent.
func (c *conn) exchange(ctx context.Context, r *Request) (_ *Response, sent bool, _ error) {
	resp := &Response{conn: c}
	// A deadline in the past would do too, but could be overwritten by the next deadline.
	resp.detach = context.AfterFunc(ctx, func() { _ = c.Close() })
	head, sent, err := c.roundTrip(r) //nolint:bodyclose // Response reads the body
	if err != nil {
		resp.Close()
		return nil, sent, err
	}
	resp.StatusCode, resp.Header, resp.body = head.StatusCode, head.Header, head.Body
	resp.chunked, resp.Last = len(head.TransferEncoding) > 0, head.Close
	if head.Body == http.NoBody {
		resp.release()
		return resp, true, nil
	}
	resp.ContentLength = head.ContentLength
	return resp, true, nil
}

func (c *conn) roundTrip(r *Request) (head *http.Response, sent bool, _ error) {
	if err := c.SetDeadline(time.Now().Add(r.Timeout)); err != nil {
		return nil, false, err
	}
	if n, err := c.Write(r.Wire); err != nil {
		return nil, n > 0, err
	}
	head, err := c.readHead(r)
	if err != nil {
		return nil, true, err
	}
	// The body has no deadline. If it has already arrived, there is no need to clear it.
	if n := head.ContentLength; n < 0 || n > int64(c.buffered.Buffered()) {
		err = c.SetDeadline(time.Time{})
	}
	return head, true, err
}

// readHead reads the heads of the responses to r up to and including the final one.
func (c *conn) readHead(r *Request) (*http.Response, error) {
	c.request.Method = r.Method
	c.headLeft = maxHeadBytes
	for {
		head, err := http.ReadResponse(c.buffered, &c.request)
		switch {
		case err != nil:
			return nil, err
		case head.StatusCode >= 200:
			c.headLeft = math.MaxInt
			return head, nil
		case head.StatusCode < 100 || head.StatusCode == http.StatusSwitchingProtocols:
			return nil, fmt.Errorf("%w: %d", errBadStatus, head.StatusCode)
		case head.StatusCode != http.StatusContinue && r.Informational != nil:
			r.Informational(Informational{head.StatusCode, head.Header})
		}
	}
}

// limitedConn is a conn whose Read fails when the head of a response is too large.
type limitedConn struct{ *conn }

// Read implements io.Reader.
func (c limitedConn) Read(p []byte) (int, error) {
	if c.headLeft <= 0 {
		return 0, errHeadTooLarge
	}
	n, err := c.TCPConn.Read(p[:min(len(p), c.headLeft)])
	if c.headLeft != math.MaxInt {
		c.headLeft -= n
	}
	return n, err
}
