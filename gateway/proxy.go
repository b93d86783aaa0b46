package main

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"gozon/shared/service"
	"gozon/shared/web/problem"
)

// newProxy returns a proxy that forwards requests to a service. A response of unknown
// length, such as an event stream, is forwarded unbuffered. Event streams end when done
// is closed.
func newProxy(u *upstream, timeout time.Duration, done <-chan struct{}, log *slog.Logger, m *metrics) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", u.name
			r.Out.Host = r.In.Host
			r.SetXForwarded()
			// Restore the request id: it is missing from Out if the client listed it in Connection.
			r.Out.Header.Set(service.RequestIDHeader, r.In.Header.Get(service.RequestIDHeader))
		},
		Transport: &balancer{upstream: u, metrics: m, next: &http.Transport{
			DialContext:           dial,
			MaxIdleConns:          0, // no total limit, so that services do not compete for connections
			MaxIdleConnsPerHost:   512,
			IdleConnTimeout:       time.Minute, // shorter than the idle timeout of the services
			ResponseHeaderTimeout: timeout,
			DisableCompression:    true, // forward the client's own Accept-Encoding
		}},
		BufferPool: &bufferPool{},
		ErrorLog:   slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del(service.RequestIDHeader) // the gateway has already set it
			if isStream(r.Header) {
				r.Body = newStreamBody(r.Body, done)
				r.Header.Set("Connection", "close") // the write deadline must not apply to another request
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			respondFailure(w, r, err, u, log, m)
		},
	}
}

// respondFailure responds to a request that the service did not answer. The problem
// reports what is known about the outcome.
func respondFailure(w http.ResponseWriter, r *http.Request, err error, u *upstream, log *slog.Logger, m *metrics) {
	c, _ := w.(gin.ResponseWriter)
	fail := func(kind string, p *problem.Problem) {
		m.failures.WithLabelValues(u.name, kind).Inc()
		log.WarnContext(r.Context(), "proxy: request failed, responding with a problem", "service", u.name, "kind", kind, "error", err)
		problem.WriteTo(c, p)
	}
	switch {
	case r.Context().Err() != nil:
		m.failures.WithLabelValues(u.name, "client_gone").Inc()
		w.WriteHeader(problem.StatusClientGone)
	case errors.Is(err, errNotSent):
		fail("unreachable", problem.BadGateway("the service is unreachable; nothing was done, so a retry is safe"))
	case isTimeout(err):
		fail("timeout", problem.OutcomeUnknown("the service did not respond in time; the request may or may not have been processed"))
	case isRead(r.Method):
		fail("broken", problem.BadGateway("the connection to the service was lost; a retry is safe"))
	default:
		fail("broken", problem.BadGatewayUnknown("the connection to the service was lost; the request may or may not have been processed"))
	}
}

// bufferPool implements httputil.BufferPool.
type bufferPool struct{ pool sync.Pool }

// bufferSize is small because a buffer is held until its response ends, and event streams
// stay open for hours. 4 KiB hold most responses and cost 20 MiB for 5,000 streams; the
// default of 32 KiB would cost 160 MiB.
const bufferSize = 4 << 10

// Get implements httputil.BufferPool.
func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }
