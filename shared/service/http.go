package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gozon/shared/web/problem"
)

// RequestIDHeader is the header that carries the request id from service to service and back
// to the client.
const RequestIDHeader = "X-Request-Id"

// NewRegistry returns a registry with the metrics of the Go runtime and the process.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(newRuntimeCollectors()...)
	return reg
}

// NewEngine returns a gin engine that serves the probes of health, responds to errors with
// problem+json, recovers from panics, never redirects, and assigns an id to every request.
// It records the duration of requests in reg and logs them: status 500 and above at level
// warn, 400 and above at info, and others at debug, because at thousands of requests per
// second logging costs more than the request. That includes 429 and 503, of which there are
// most under attack and overload: what causes them is logged where it is detected. The
// middleware runs for every request, also if no route matches it.
func NewEngine(log *slog.Logger, reg prometheus.Registerer, health *Health, middleware ...gin.HandlerFunc) *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.RedirectTrailingSlash = false
	e.HandleMethodNotAllowed = true
	e.ContextWithFallback = true
	if err := e.SetTrustedProxies(nil); err != nil {
		panic(err) // nil is always valid
	}
	e.Use(observe(log, reg), recovery(log))
	e.Use(middleware...)
	e.NoRoute(func(c *gin.Context) { problem.Write(c, problem.NotFound("there is nothing at this path")) })
	e.NoMethod(MethodNotAllowed)
	health.routes(e)
	return e
}

// MethodNotAllowed responds 405. gin sets the Allow header to the methods that have a handler
// at the path.
func MethodNotAllowed(c *gin.Context) {
	problem.Write(c, problem.MethodNotAllowed("this path does not support "+c.Request.Method))
}

// Handle registers h for path with and without a trailing slash. A GET handler also serves
// HEAD: net/http drops the body that it writes.
func Handle(r gin.IRoutes, method, path string, h ...gin.HandlerFunc) {
	methods := []string{method}
	if method == http.MethodGet {
		methods = append(methods, http.MethodHead)
	}
	path = strings.TrimSuffix(path, "/")
	r.Match(methods, path, h...)
	r.Match(methods, path+"/", h...)
}

func observe(log *slog.Logger, reg prometheus.Registerer) gin.HandlerFunc {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "http_request_duration_seconds",
		Help:    "Duration of HTTP requests, by route, method and status.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	}, []string{"route", "method", "status"})
	reg.MustRegister(seconds)
	return func(c *gin.Context) {
		start := time.Now()
		id := c.GetHeader(RequestIDHeader)
		if !validRequestID(id) {
			id = uuid.Must(uuid.NewV7()).String()
			c.Request.Header.Set(RequestIDHeader, id)
		}
		c.Writer.Header().Set(RequestIDHeader, id)
		c.Request = c.Request.WithContext(WithLogAttrs(c.Request.Context(), slog.String("request_id", id)))

		defer func() { // also when recovery panics to abort the response
			elapsed, status := time.Since(start), c.Writer.Status()
			route := c.FullPath()
			if route == "" {
				route = "none" // arbitrary paths must not become label values
			}
			seconds.WithLabelValues(route, methodLabel(c.Request.Method), strconv.Itoa(status)).Observe(elapsed.Seconds())
			level := slog.LevelDebug
			switch {
			case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
			case status >= http.StatusInternalServerError:
				level = slog.LevelWarn
			case status >= http.StatusBadRequest:
				level = slog.LevelInfo
			}
			if ctx := c.Request.Context(); log.Enabled(ctx, level) {
				log.LogAttrs(ctx, level, "request",
					slog.String("method", c.Request.Method), slog.String("path", c.Request.URL.Path),
					slog.Int("status", status), slog.Float64("seconds", elapsed.Seconds()))
			}
		}()
		c.Next()
	}
}

// recovery responds to a panic with 500. If the response has already started, recovery
// aborts it with http.ErrAbortHandler, which net/http does not log. With gin's own recovery
// the response would look complete to the client.
func recovery(log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause != http.ErrAbortHandler { //nolint:errorlint // the panic value is never wrapped
				log.ErrorContext(c.Request.Context(), "http: handler panicked", "cause", cause, "stack", string(debug.Stack()))
				if !c.Writer.Written() {
					problem.Write(c, problem.Internal())
					return
				}
			}
			panic(http.ErrAbortHandler)
		}()
		c.Next()
	}
}

func methodLabel(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// validRequestID reports whether an id sent by a client is safe in log lines and headers.
func validRequestID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, r := range id {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return true
}

// Listen opens a TCP listener.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

const (
	// noticeTime is how long a stopping service still accepts connections. A client that
	// sends a request on a connection that the service is just closing does not learn whether
	// it was processed. Therefore the responses ask the client to close the connection, and
	// the gateway then sends the next requests to other replicas.
	noticeTime = time.Second
	// arrivalTime is how long a request may take to arrive on a connection that was accepted
	// last. [http.Server.Shutdown] drops the requests that arrive later.
	arrivalTime = 200 * time.Millisecond
)

// writeTimeout limits the time from the end of a request's head to the end of the response,
// so that a client that does not read cannot keep its connection and its buffers. It is
// longer than the gateway takes to read a body and to wait for two replicas. It does not
// apply to a connection that was hijacked.
const writeTimeout = 45 * time.Second

// AllowTime extends the time limit of a response that may take up to d to prepare.
func AllowTime(w http.ResponseWriter, d time.Duration) {
	// It fails only for a writer without a connection, as in tests, which has no limit.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d + writeTimeout))
}

// ServeAPI returns the part that serves h on l, and on more listeners, such as one for TLS. It
// accepts at most c.MaxConnections at a time. When it stops, it calls health.Stopping and still
// responds for a second. Then it closes the listeners, calls health.Stopped and waits for the
// requests in flight.
func (c Config) ServeAPI(l net.Listener, h http.Handler, health *Health, reg prometheus.Registerer, more ...net.Listener) Part {
	connections := newConnections(c.MaxConnections, reg)
	return Part{Name: "http", Run: func(ctx context.Context) error {
		srv := newServer(connections.limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if health.stopping.Load() {
				w.Header().Set("Connection", "close")
			}
			h.ServeHTTP(w, r)
		})))
		srv.ConnState = connections.changed
		listeners := append([]net.Listener{l}, more...)
		return serve(ctx, srv, func() {
			health.Stopping()
			<-time.After(noticeTime)
			for _, l := range listeners {
				_ = l.Close() // the error would be that it is closed already
			}
			<-time.After(arrivalTime)
			health.Stopped()
		}, listeners...)
	}}
}

// newServer returns a server with limits for clients that send or read slowly.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second, // head and body
		WriteTimeout:      writeTimeout,
		IdleTimeout:       2 * time.Minute, // longer than the idle timeout of the gateway
		MaxHeaderBytes:    32 << 10,
		HTTP2: &http.HTTP2Config{
			// What a client has sent and no handler has read yet is kept in memory.
			MaxReceiveBufferPerConnection: 64 << 10,
			MaxReceiveBufferPerStream:     64 << 10,
			MaxConcurrentStreams:          100,
			// The other time limits are those of a request. These are for a connection whose
			// client does not read or has disappeared.
			WriteByteTimeout: 10 * time.Second,
			SendPingTimeout:  15 * time.Second,
			PingTimeout:      10 * time.Second,
		},

		DisableGeneralOptionsHandler: true, // h also handles OPTIONS *
	}
}

// ServeMetrics returns the part that serves GET /metrics on l, and the profiles of
// the process below /debug/pprof/ if c.Profiling is set. Nothing else serves them.
func (c Config) ServeMetrics(l net.Listener, reg *prometheus.Registry) Part {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		Registry: reg, Timeout: 5 * time.Second,
		ErrorHandling: promhttp.ContinueOnError, // a collector that needs the database may fail; the others are still served
	}))
	if c.Profiling {
		registerProfiles(mux)
	}
	if c.RegistryFunc != nil {
		c.RegistryFunc(reg)
	}
	return Part{Name: "metrics", Run: func(ctx context.Context) error {
		return serve(ctx, newServer(mux), func() {}, l)
	}}
}

func serve(ctx context.Context, srv *http.Server, stopping func(), listeners ...net.Listener) error {
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- fmt.Errorf("serve %s: %w", l.Addr(), srv.Serve(l)) }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stopping()
	// The drain timeout of Run bounds this wait.
	if err := srv.Shutdown(context.WithoutCancel(ctx)); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("shutdown %s: %w", listeners[0].Addr(), err)
	}
	return nil
}
