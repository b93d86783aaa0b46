package main

import (
	"context"
	"errors"
	"net"
	"net/http"

	"gozon/gateway/internal/http1"
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
}

// send returns the response to r and the replica that sent it. Until the caller calls
// [replica.done], the request counts as in flight.
func (b *balancer) send(ctx context.Context, r outgoing) (*http1.Response, *replica, error) {
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
		var resp *http1.Response
		rep.inFlight.Add(1)
		resp, err = rep.pool.Do(ctx, r.Request)
		if err == nil {
			if sent && !isRead(r.Method) && resp.StatusCode == http.StatusServiceUnavailable {
				resp.Close()
				rep.done()
				return nil, nil, errRetryRejected
			}
			// A stopping replica accepts requests for a second. The next ones go to another
			// replica until it is gone. An event stream always has a connection of its own.
			if resp.Last && !isStream(resp) {
				b.upstream.skip(rep)
			}
			return resp, rep, nil
		}
		rep.done()
		failed, _ := errors.AsType[*http1.Error](err)
		if failed.Sent {
			sent = true
		}
		switch {
		case ctx.Err() != nil:
			return nil, nil, err
		case !failed.Sent:
			b.upstream.skip(rep)
			unreachable = append(unreachable, rep)
		case resent || isTimeout(err) || !r.retryable:
			return nil, nil, err
		default:
			b.upstream.skip(rep)
			resent = true
		}
	}
	if !sent {
		err = errors.Join(errNotSent, err)
	}
	return nil, nil, err
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
