package main

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"gozon/gateway/internal/http1"
	"gozon/shared/service"
	"gozon/shared/web/problem"
)

// proxy forwards requests to a service.
type proxy struct {
	balancer  balancer
	admission *admission
	timeout   time.Duration // for the head of a response
	streams   *streams
	log       *slog.Logger
	buffers   bufferPool
}

func newProxy(u *upstream, a *admission, timeout time.Duration, s *streams, log *slog.Logger, m *metrics) *proxy {
	return &proxy{balancer: balancer{upstream: u, metrics: m}, admission: a, timeout: timeout, streams: s, log: log}
}

// forward sends the request of c, with the given body, to the service, and its response to
// the client. If the response breaks off, so does the response to the client.
func (p *proxy) forward(c *gin.Context, body []byte) {
	if resp := p.exchange(c, body); resp != nil {
		defer resp.Close()
		p.streams.forward(c, resp)
	}
}

// exchange is forward, except for an event stream, of which it returns the response. A stream
// stays open for hours: it counts neither as a request in flight nor against its replica, and
// holds no buffer.
func (p *proxy) exchange(c *gin.Context, body []byte) (stream *http1.Response) {
	share, admitted := p.admission.enter(c)
	if !admitted {
		return nil
	}
	defer share.Leave()
	buf := p.buffers.get()
	defer p.buffers.put(buf)
	out := newOutgoing((*buf)[:0], c.Request, body)
	out.Timeout = p.timeout
	if c.Request.ProtoAtLeast(1, 1) {
		out.Informational = func(i http1.Informational) { forwardInformational(c.Writer, i) }
	}
	resp, replica, err := p.balancer.send(c.Request.Context(), out)
	*buf = out.Wire
	if err != nil {
		p.respondFailure(c, err)
		return nil
	}
	defer replica.done()
	copyHeader(c.Writer.Header(), resp.Header)
	c.Status(resp.StatusCode)
	if isStream(resp) {
		return resp
	}
	defer resp.Close()
	copyBody(c.Writer, resp, (*buf)[:cap(*buf)])
	return nil
}

// forwardInformational writes a 1xx response. gin only supports final ones.
func forwardInformational(w gin.ResponseWriter, i http1.Informational) {
	plain, ok := w.(interface{ Unwrap() http.ResponseWriter })
	if !ok {
		return
	}
	header := w.Header()
	final := maps.Clone(header)
	clear(header)
	copyHeader(header, i.Header)
	plain.Unwrap().WriteHeader(i.StatusCode)
	clear(header)
	maps.Copy(header, final)
}

// copyHeader adds the headers of a response to those of the response to the client. They
// share the values.
func copyHeader(dst, src http.Header) {
	dropped := namedInConnection(src)
	for name, values := range src {
		// The gateway has already set the request id.
		if !isHopByHop(name) && !dropped[name] && name != service.RequestIDHeader {
			dst[name] = values
		}
	}
}

// copyBody copies the body of resp to w. A response of unknown length is not held back in
// a buffer. If the body or the connection to the client breaks off, copyBody aborts the
// response with a panic that net/http does not log.
func copyBody(w gin.ResponseWriter, resp *http1.Response, buf []byte) {
	for {
		n, err := resp.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				panic(http.ErrAbortHandler)
			}
		}
		switch {
		case err == io.EOF: //nolint:errorlint // io.Reader returns io.EOF itself
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		case resp.ContentLength < 0 && !resp.Buffered():
			w.Flush()
		}
	}
}

// respondFailure responds to a request that the service did not answer. The problem
// reports what is known about the outcome.
func (p *proxy) respondFailure(c *gin.Context, err error) {
	m, name, ctx := p.balancer.metrics, p.balancer.upstream.name, c.Request.Context()
	fail := func(kind string, pr *problem.Problem) {
		m.failures.WithLabelValues(name, kind).Inc()
		p.log.WarnContext(ctx, "proxy: request failed, responding with a problem", "service", name, "kind", kind, "error", err)
		problem.Write(c, pr)
	}
	switch {
	case ctx.Err() != nil:
		m.failures.WithLabelValues(name, "client_gone").Inc()
		c.Status(problem.StatusClientGone)
	case errors.Is(err, errNotSent):
		fail("unreachable", problem.BadGateway("the service is unreachable; nothing was done, so a retry is safe"))
	case isTimeout(err):
		fail("timeout", problem.OutcomeUnknown("the service did not respond in time; the request may or may not have been processed"))
	case isRead(c.Request.Method):
		fail("broken", problem.BadGateway("the connection to the service was lost; a retry is safe"))
	default:
		fail("broken", problem.BadGatewayUnknown("the connection to the service was lost; the request may or may not have been processed"))
	}
}

// bufferPool holds the buffers of requests in flight: first for the request, then for the
// body of its response.
type bufferPool struct{ pool sync.Pool }

const (
	bufferSize    = 4 << 10  // holds most requests and responses
	bufferSizeMax = 16 << 10 // larger buffers are not kept
)

func (p *bufferPool) get() *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, bufferSize)
	return &b
}

func (p *bufferPool) put(b *[]byte) {
	if cap(*b) <= bufferSizeMax {
		p.pool.Put(b)
	}
}
