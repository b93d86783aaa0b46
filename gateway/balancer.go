package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
)

// An attempt to send a request fails in one of two ways. The difference determines
// whether the request may be retried and what is reported to the client:
//
//	nothing was sent     The next replica is tried, whatever the method.
//	something was sent   The service may have processed the request. It is sent once more
//	                     if processing it twice has the same effect as once. If that
//	                     attempt fails too, the outcome is unknown.
//
// A request counts as sent as soon as one of its attempts sent something.

// errNotSent is wrapped by the error of a request if none of its attempts sent anything.
var errNotSent = errors.New("nothing was sent")

// errRetryRejected replaces a 503 response to the retry of a POST that an earlier attempt
// sent. A 503 promises that nothing was done, which is true only of the retry.
var errRetryRejected = errors.New("the connection was lost and the retry was rejected")

// balancer sends each request to a replica, and retries on another one when that is safe.
type balancer struct {
	upstream *upstream
	metrics  *metrics
	next     http.RoundTripper // must create its connections with [dial]
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close() // each attempt has its own copy
	}
	var unreachable []*replica
	err := errNoReplica
	sent, resent := false, false
	for n := 0; ; n++ {
		rep := b.upstream.pick(unreachable)
		if rep == nil {
			break
		}
		if n > 0 {
			b.metrics.retries.WithLabelValues(b.upstream.name).Inc()
		}
		var att attempt
		var resp *http.Response
		resp, err = b.send(r, rep, &att)
		if err == nil {
			if sent && !isRead(r.Method) && resp.StatusCode == http.StatusServiceUnavailable {
				_ = resp.Body.Close()
				return nil, errRetryRejected
			}
			return resp, nil
		}
		if att.sent.Load() {
			sent = true
		}
		switch {
		case r.Context().Err() != nil:
			return nil, err
		case !att.sent.Load() && att.reused:
			// The service closed an idle connection. The replica itself may be fine, so
			// it is tried again. The pool dropped the connection, so the loop terminates.
		case !att.sent.Load():
			b.upstream.markFailed(rep)
			unreachable = append(unreachable, rep)
		case resent || isTimeout(err) || !isRetryable(r):
			return nil, err
		default:
			b.upstream.markFailed(rep)
			resent = true
		}
	}
	if !sent {
		err = errors.Join(errNotSent, err)
	}
	return nil, err
}

// send makes one attempt. It does not modify r.
func (b *balancer) send(r *http.Request, rep *replica, att *attempt) (*http.Response, error) {
	out := r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: att.gotConn}))
	u := *r.URL
	u.Host = rep.addr
	out.URL = &u
	// Disable the retries of the transport, which could not be observed or counted. It
	// retries a GET and any request with an Idempotency-Key or X-Idempotency-Key header,
	// unless the request has a body that cannot be rewound.
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
	if isStream(resp.Header) {
		// A stream stays open for hours and would count against its replica all that time.
		rep.inFlight.Add(-1)
		return resp, nil
	}
	resp.Body = &inFlightBody{ReadCloser: resp.Body, replica: rep}
	return resp, nil
}

// isRetryable reports whether sending r twice has the same effect as sending it once.
// The services accept exactly one Idempotency-Key, and reject a request with several keys
// or an empty one.
func isRetryable(r *http.Request) bool {
	if isRead(r.Method) {
		return true
	}
	keys := r.Header.Values("Idempotency-Key")
	return r.Method == http.MethodPost && len(keys) == 1 && keys[0] != ""
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// inFlightBody is a response body. Its request counts as in flight until Close is called.
type inFlightBody struct {
	io.ReadCloser
	replica *replica
	once    sync.Once
}

// Close implements io.Closer.
func (b *inFlightBody) Close() error {
	b.once.Do(func() { b.replica.inFlight.Add(-1) })
	return b.ReadCloser.Close()
}
