package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"syscall"
)

// Informational is a 1xx response.
type Informational struct {
	StatusCode int
	Header     http.Header
}

// Response is the response to a [Request]. One goroutine uses it at a time.
type Response struct {
	StatusCode    int
	Header        http.Header // without Transfer-Encoding and Trailer
	ContentLength int64       // of the body that follows; -1 if unknown, 0 if there is none
	Last          bool        // the service closes the connection after the response

	conn    *conn // nil once the connection is released
	detach  func() (detached bool)
	body    io.Reader
	chunked bool
}

// Read implements io.Reader. It returns io.EOF only at the end of a complete body. At the
// end, the connection is available to other requests.
func (r *Response) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	if err == io.EOF {
		r.release()
	}
	return n, err
}

// Buffered reports whether the next Read returns without waiting for the service.
func (r *Response) Buffered() bool { return r.conn == nil || r.conn.buffered.Buffered() > 0 }

// Close closes the connection unless the body was read to its end.
func (r *Response) Close() {
	if c := r.conn; c != nil {
		r.conn = nil
		r.detach()
		_ = c.Close()
	}
}

// release puts the connection back into the pool if it can carry another request.
func (r *Response) release() {
	c := r.conn
	if c == nil {
		return
	}
	if r.Last || c.buffered.Buffered() > 0 {
		r.Close()
		return
	}
	r.conn = nil
	if r.detach() { // otherwise the context is done and closes the connection
		c.pool.put(c)
	}
}

// streamBuffer is the size of the buffer of a [Stream] in chunks. It holds the size line of a
// chunk; larger reads bypass it.
const streamBuffer = 256

// Stream is the body of a response that may be open for hours. It takes little memory and
// does not depend on the context of its request. Close may be called while another
// goroutine reads.
type Stream struct {
	net.Conn
	raw     syscall.RawConn
	arrived []byte        // read from Conn with the head of the response
	lines   *bufio.Reader // what chunks reads from; nil if the body is not in chunks
	chunks  io.Reader
}

// Read implements io.Reader. It returns io.EOF only at the end of a complete body.
func (s *Stream) Read(p []byte) (int, error) {
	if s.chunks != nil {
		return s.chunks.Read(p)
	}
	return streamBody{s}.Read(p)
}

// Wait returns when something has arrived, or when Read would fail. A caller that waits
// before it allocates the buffer for Read needs none while the stream is idle.
func (s *Stream) Wait() {
	if len(s.arrived) > 0 || s.lines != nil && s.lines.Buffered() > 0 {
		return
	}
	_ = s.raw.Read(func(fd uintptr) (done bool) { // Read returns its error too
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		return !errors.Is(err, syscall.EAGAIN)
	})
}

// streamBody is the body of a Stream as it arrives, with the framing of chunks.
type streamBody struct{ *Stream }

// Read implements io.Reader.
func (s streamBody) Read(p []byte) (int, error) {
	if len(s.arrived) == 0 {
		return s.Conn.Read(p)
	}
	n := copy(p, s.arrived)
	s.arrived = s.arrived[n:]
	return n, nil
}

// Detach turns r, of which nothing was read and whose ContentLength is unknown, into a
// stream, which the caller must close. It returns nil if the context of the request is done.
func (r *Response) Detach() *Stream {
	c := r.conn
	if c == nil || !r.detach() {
		return nil
	}
	r.conn = nil
	arrived, _ := c.buffered.Peek(c.buffered.Buffered()) // does not read
	s := &Stream{Conn: c.TCPConn, raw: c.raw, arrived: bytes.Clone(arrived)}
	if r.chunked {
		s.lines = bufio.NewReaderSize(streamBody{s}, streamBuffer)
		s.chunks = httputil.NewChunkedReader(s.lines)
	}
	return s
}
