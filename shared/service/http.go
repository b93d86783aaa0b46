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

// RequestIDHeader carries the id of a request from hop to hop and back to the caller.
const RequestIDHeader = "X-Request-Id"

// NewRegistry has the metrics of the Go runtime and of the process.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(newRuntimeCollectors()...)
	return reg
}

// NewEngine is a gin engine that answers in problem+json, never redirects,
// recovers from panics, gives every request an id, counts it, and has the probes
// of health. Requests below 400 are logged at debug level: at thousands a second
// the log line would cost more than the request.
func NewEngine(log *slog.Logger, reg prometheus.Registerer, health *Health) *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.RedirectTrailingSlash = false
	e.HandleMethodNotAllowed = true
	e.ContextWithFallback = true
	if err := e.SetTrustedProxies(nil); err != nil {
		panic(err) // nil is always valid
	}
	e.Use(observe(log, reg), recovery(log))
	e.NoRoute(func(c *gin.Context) { problem.Write(c, problem.NotFound("there is nothing at this path")) })
	e.NoMethod(MethodNotAllowed)
	health.routes(e)
	return e
}

// MethodNotAllowed answers 405. Its Allow header is gin's: the methods that have a handler
// at the path.
func MethodNotAllowed(c *gin.Context) {
	problem.Write(c, problem.MethodNotAllowed("this path does not answer "+c.Request.Method))
}

// Handle registers h for path with and without its trailing slash. The handler of GET
// answers HEAD too: the server drops the body that it writes.
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
		Help:    "Time to answer a request, by route, method and status.",
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

		defer func() { // also for an answer that is cut off by a panic
			took, status := time.Since(start), c.Writer.Status()
			route := c.FullPath()
			if route == "" {
				route = "none" // the path of a stranger must not become a label
			}
			seconds.WithLabelValues(route, methodLabel(c.Request.Method), strconv.Itoa(status)).Observe(took.Seconds())
			level := slog.LevelDebug
			if status >= http.StatusInternalServerError {
				level = slog.LevelWarn
			} else if status >= http.StatusBadRequest {
				level = slog.LevelInfo
			}
			if ctx := c.Request.Context(); log.Enabled(ctx, level) {
				log.LogAttrs(ctx, level, "request",
					slog.String("method", c.Request.Method), slog.String("path", c.Request.URL.Path),
					slog.Int("status", status), slog.Float64("seconds", took.Seconds()))
			}
		}()
		c.Next()
	}
}

// recovery answers a panic with 500. An answer that has begun is cut off instead, by a
// panic that the server knows and does not log: gin's own recovery would let it end as
// if it were complete.
func recovery(log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause != http.ErrAbortHandler { //nolint:errorlint // it is panicked as it is
				log.ErrorContext(c.Request.Context(), "panic", "cause", cause, "stack", string(debug.Stack()))
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

// validRequestID keeps log lines and headers safe from what a client sends.
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

// ServeHTTP is the part that answers requests on l. At its stop it tells health,
// takes no new connection and lets the requests in hand finish.
func ServeHTTP(l net.Listener, h http.Handler, health *Health) Part {
	return Part{Name: "http", Run: func(ctx context.Context) error {
		srv := &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       15 * time.Second,
			IdleTimeout:       2 * time.Minute, // longer than the gateway keeps an idle connection
			MaxHeaderBytes:    32 << 10,
		}
		return serve(ctx, srv, l, health.Stopping)
	}}
}

// ServeMetrics is the part that answers GET /metrics on l.
func ServeMetrics(l net.Listener, reg *prometheus.Registry) Part {
	return Part{Name: "metrics", Run: func(ctx context.Context) error {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
			Registry: reg, Timeout: 5 * time.Second,
			ErrorHandling: promhttp.ContinueOnError, // without the database there is no outbox to count; all else is still told
		}))
		srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
		return serve(ctx, srv, l, func() {})
	}}
}

func serve(ctx context.Context, srv *http.Server, l net.Listener, stopping func()) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stopping()
	// The drain timeout of Run bounds this wait.
	if err := srv.Shutdown(context.WithoutCancel(ctx)); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("shutdown %s: %w", l.Addr(), err)
	}
	return nil
}
