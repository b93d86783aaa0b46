package service

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"gozon/shared/web/problem"
)

// connections limits the open connections of an HTTP server, together with its requests over
// HTTP/2, which share connections. An event stream over HTTP/1 has left the server, and does
// not count. A connection above the limit is not left waiting, as by netutil.LimitListener:
// its client gets a 503 at once. With TLS, it is closed, because the response would need a
// handshake.
type connections struct {
	max     int64
	open    atomic.Int64
	refused prometheus.Counter
	problem []byte // the body of the response to what is refused
	refusal []byte // the whole response
}

func newConnections(limit int, reg prometheus.Registerer) *connections {
	c := &connections{max: int64(limit), refused: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "http_connections_refused_total", Help: "Connections that were refused because MAX_CONNECTIONS were open.",
	})}
	body, err := json.Marshal(problem.Unavailable("too many connections; nothing was done, so a retry is safe"))
	if err != nil {
		panic(err) // cannot happen: strings and an int always encode
	}
	c.problem = body
	c.refusal = fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: "+problem.ContentType+
		"\r\nContent-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s", len(body), body)
	reg.MustRegister(c.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "http_connections", Help: "Open connections to the API, without event streams, and requests over HTTP/2.",
	}, func() float64 { return float64(c.open.Load()) }))
	return c
}

// changed is the ConnState of the server.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	switch state { //nolint:exhaustive // the others do not change the number
	case http.StateNew:
		if c.open.Add(1) > c.max {
			c.refused.Inc()
			if _, ok := conn.(*tls.Conn); !ok {
				_, _ = conn.Write(c.refusal) // does not block: the buffer of a new connection is empty
			}
			_ = conn.Close() // the server then reports StateClosed
		}
	case http.StateClosed, http.StateHijacked:
		c.open.Add(-1)
	}
}

// limit returns a handler that refuses the requests over HTTP/2 that are above the limit.
func (c *connections) limit(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor < 2 {
			h.ServeHTTP(w, r)
			return
		}
		defer c.open.Add(-1)
		if c.open.Add(1) > c.max {
			c.refused.Inc()
			w.Header().Set("Content-Type", problem.ContentType)
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(c.problem)
			return
		}
		h.ServeHTTP(w, r)
	})
}
