package main

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/shared/service"
	"gozon/shared/web/problem"
)

// keepAlive finds a replica whose machine is gone within half a minute; of one that
// crashed the kernel tells at once.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

type metrics struct {
	retries  *prometheus.CounterVec
	failures *prometheus.CounterVec
	replicas *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "upstream_retries_total", Help: "Attempts after the first to send a request.",
		}, []string{"service"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "upstream_failures_total", Help: "Requests that a service did not answer, by kind.",
		}, []string{"service", "kind"}),
		replicas: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "upstream_replicas", Help: "Replicas of a service that are known.",
		}, []string{"service"}),
	}
	reg.MustRegister(m.retries, m.failures, m.replicas)
	return m
}

// newProxy passes requests on to a service. An answer of unknown length, such as an
// event stream, passes through unbuffered; event streams end when done is closed.
func newProxy(u *upstream, timeout time.Duration, done <-chan struct{}, log *slog.Logger, m *metrics) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", u.name
			r.Out.Host = r.In.Host
			r.SetXForwarded()
			// Again, as a client that names it in Connection has had it removed from Out.
			r.Out.Header.Set(service.RequestIDHeader, r.In.Header.Get(service.RequestIDHeader))
		},
		Transport: &balancer{upstream: u, metrics: m, next: &http.Transport{
			DialContext:           dial,
			MaxIdleConns:          0, // no limit in all, so that services do not take connections from each other
			MaxIdleConnsPerHost:   512,
			IdleConnTimeout:       time.Minute, // shorter than the services keep theirs
			ResponseHeaderTimeout: timeout,
			DisableCompression:    true, // the client's own Accept-Encoding passes
		}},
		BufferPool: &bufferPool{},
		ErrorLog:   slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del(service.RequestIDHeader) // it is in the answer already
			if isStream(r.Header) {
				r.Body = endAtStop(r.Body, done)
				r.Header.Set("Connection", "close") // its deadlines are of no use to another request
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			answerFailure(w, r, err, u, log, m)
		},
	}
}

func answerFailure(w http.ResponseWriter, r *http.Request, err error, u *upstream, log *slog.Logger, m *metrics) {
	c, _ := w.(gin.ResponseWriter)
	fail := func(kind string, p *problem.Problem) {
		m.failures.WithLabelValues(u.name, kind).Inc()
		log.WarnContext(r.Context(), "request not answered", "service", u.name, "kind", kind, "error", err)
		problem.WriteTo(c, p)
	}
	switch {
	case r.Context().Err() != nil:
		m.failures.WithLabelValues(u.name, "client_gone").Inc()
		w.WriteHeader(problem.StatusClientGone)
	case errors.Is(err, errNotSent):
		fail("unreachable", problem.BadGateway("the service cannot be reached; nothing was done, it is safe to try again"))
	case isTimeout(err):
		fail("timeout", problem.OutcomeUnknown("the service did not answer in time; it is not known whether this was done"))
	case safe(r.Method):
		fail("broken", problem.BadGateway("the service broke off; it is safe to try again"))
	default:
		fail("broken", problem.BadGatewayUnknown("the service broke off; it is not known whether this was done"))
	}
}

// isStream reports whether an answer is an event stream, which has no end of its own.
func isStream(h http.Header) bool {
	mediaType, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream")
}
