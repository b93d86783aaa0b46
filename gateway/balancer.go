package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
)

// A request fails in one of two ways, and the difference decides what may be done next
// and what the client learns:
//
//	nothing was sent   the next replica gets it, whatever its method
//	something was      it may have been done: it is sent once more if doing it twice has
//	                   no effect, and if that fails as well its outcome is unknown
//
// A failure counts as the second kind as soon as one of its attempts does.

// errNotSent is wrapped by the error of a request of which no attempt sent anything.
var errNotSent = errors.New("nothing was sent")

// errRefused replaces a 503 to a request that was sent before. The 503 says that nothing
// was done, which is true of the last attempt alone.
var errRefused = errors.New("the first attempt broke off and the second was refused")

// balancer sends each request to a replica, and to another one when that is safe.
type balancer struct {
	upstream *upstream
	metrics  *metrics
	next     http.RoundTripper // its connections are of [dial]
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close() // each attempt has a body of its own
	}
	var unreachable []*replica
	err := errNoReplica
	sent, repeated := false, false
	for n := 0; ; n++ {
		rep := b.upstream.pick(unreachable)
		if rep == nil {
			break
		}
		if n > 0 {
			b.metrics.retries.WithLabelValues(b.upstream.name).Inc()
		}
		var try attempt
		var resp *http.Response
		resp, err = b.send(r, rep, &try)
		if err == nil {
			if sent && !safe(r.Method) && resp.StatusCode == http.StatusServiceUnavailable {
				_ = resp.Body.Close()
				return nil, errRefused
			}
			return resp, nil
		}
		if try.sent.Load() {
			sent = true
		}
		switch {
		case r.Context().Err() != nil:
			return nil, err
		case !try.sent.Load() && try.reused:
			// The service had closed an idle connection. The pool has lost it, so this ends.
		case !try.sent.Load():
			b.upstream.failed(rep)
			unreachable = append(unreachable, rep)
		case repeated || isTimeout(err) || !repeatable(r):
			return nil, err
		default:
			b.upstream.failed(rep)
			repeated = true
		}
	}
	if !sent {
		err = errors.Join(errNotSent, err)
	}
	return nil, err
}

// send makes one attempt. It leaves r as it is.
func (b *balancer) send(r *http.Request, rep *replica, try *attempt) (*http.Response, error) {
	out := r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: try.gotConn}))
	u := *r.URL
	u.Host = rep.addr
	out.URL = &u
	// The transport repeats what broke off by itself, unseen and uncounted, when it is a
	// GET or has a header named Idempotency-Key or X-Idempotency-Key. It never does when
	// there is a body that it cannot rewind.
	out.Body, out.GetBody = io.NopCloser(strings.NewReader("")), nil
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = body
	}
	rep.inFlight.Add(1)
	resp, err := b.next.RoundTrip(out)
	if err != nil {
		rep.inFlight.Add(-1)
		return nil, err
	}
	if isStream(resp.Header) { // it stays for hours: as a request in flight it would count against its replica all the while
		rep.inFlight.Add(-1)
		return resp, nil
	}
	resp.Body = &counted{ReadCloser: resp.Body, replica: rep}
	return resp, nil
}

// repeatable reports whether r has the same effect once and twice. The services honour
// one Idempotency-Key, and refuse a request with several or with an empty one.
func repeatable(r *http.Request) bool {
	if safe(r.Method) {
		return true
	}
	keys := r.Header.Values("Idempotency-Key")
	return r.Method == http.MethodPost && len(keys) == 1 && keys[0] != ""
}

func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// attempt is one try to send a request.
type attempt struct {
	sent   atomic.Bool // a byte or more
	reused bool        // on a connection that was idle
}

func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	a.reused = info.Reused
	if c, ok := info.Conn.(*conn); ok {
		c.attempt.Store(a)
	}
}

// conn notes whether something is sent. httptrace cannot tell: it reports what was
// written to a buffer.
type conn struct {
	net.Conn
	attempt atomic.Pointer[attempt]
}

// dial is for [http.Transport.DialContext].
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepAlive}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// Write implements io.Writer. The transport waits for it before it reports a failure.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if a := c.attempt.Load(); n > 0 && a != nil {
		a.sent.Store(true)
	}
	return n, err
}
