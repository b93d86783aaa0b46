package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/web/problem"
)

type config struct {
	Service service.Config
	Secret  string `env:"SECRET,notEmpty" usage:"a required value"`
}

func (c *config) Validate() error { return c.Service.Validate() }

func command(t *testing.T, environ map[string]string, args ...string) (code int, printed string) {
	t.Helper()
	var stderr bytes.Buffer
	var cfg config
	p := service.Program{Name: "test", Config: &cfg, Frame: &cfg.Service, Serve: func(context.Context, *slog.Logger) error {
		return errors.New("served " + cfg.Secret)
	}}
	return p.Run(t.Context(), args, environ, &stderr), stderr.String()
}

func TestProgram(t *testing.T) {
	t.Parallel()
	code, printed := command(t, nil, "help")
	require.Zero(t, code)
	for _, word := range []string{"healthcheck", "HTTP_ADDR", "METRICS_ADDR", "PPROF", "LOG_LEVEL", "DRAIN_TIMEOUT", "SECRET", "required"} {
		require.Contains(t, printed, word)
	}
	code, printed = command(t, nil)
	require.Equal(t, 2, code)
	require.Contains(t, printed, "SECRET")
	require.Contains(t, printed, "Usage:")
	code, printed = command(t, map[string]string{"SECRET": "x", "DRAIN_TIMEOUT": "soon"})
	require.Equal(t, 2, code)
	require.Contains(t, printed, "DrainTimeout")
	code, _ = command(t, map[string]string{"SECRET": "x"}, "dance")
	require.Equal(t, 2, code)
	code, printed = command(t, map[string]string{"SECRET": "x"})
	require.Equal(t, 1, code)
	require.Contains(t, printed, `"error":"served x"`)
	code, _ = command(t, map[string]string{"SECRET": "x", "HTTP_ADDR": "127.0.0.1:1"}, "healthcheck")
	require.Equal(t, 1, code, "nothing listens on this port")
}

func TestListenOpensBothListenersOrNeither(t *testing.T) {
	t.Parallel()
	inUse, err := service.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	defer inUse.Close()
	var opened net.Listener
	_, _, err = service.Config{
		HTTPAddr: "127.0.0.1:0", MetricsAddr: inUse.Addr().String(),
		ListenFunc: func(ctx context.Context, addr string) (net.Listener, error) {
			l, err := service.Listen(ctx, addr)
			if err == nil {
				opened = l
			}
			return l, err
		},
	}.Listen(t.Context())
	require.ErrorContains(t, err, "listen")
	_, err = opened.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

var discard = slog.New(slog.DiscardHandler)

// Each part blocks until the other has started.
func TestPartsStartTogether(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan struct{}), make(chan struct{})
	part := func(started, other chan struct{}) service.Part {
		return service.Part{Name: "part", Run: func(ctx context.Context) error {
			close(started)
			<-other
			cancel()
			<-ctx.Done()
			return nil
		}}
	}
	require.NoError(t, service.Run(ctx, discard, time.Minute, part(first, second), part(second, first)))
}

func TestPartsStopInReverseOrder(t *testing.T) {
	t.Parallel()
	var stopped []string
	part := func(name string) service.Part {
		return service.Part{Name: name, Run: func(ctx context.Context) error {
			<-ctx.Done()
			stopped = append(stopped, name) // not locked: the race detector verifies that parts stop one at a time
			return nil
		}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, service.Run(ctx, discard, time.Minute, part("publisher"), part("relay"), part("http")))
	require.Equal(t, []string{"http", "relay", "publisher"}, stopped)
}

func TestFailingPartStopsTheOthers(t *testing.T) {
	t.Parallel()
	errPart := errors.New("port taken")
	stopped := false
	err := service.Run(t.Context(), discard, time.Minute,
		service.Part{Name: "good", Run: func(ctx context.Context) error { <-ctx.Done(); stopped = true; return nil }},
		service.Part{Name: "bad", Run: func(context.Context) error { return errPart }})
	require.ErrorIs(t, err, errPart)
	require.True(t, stopped)
}

func TestRunReturnsWhenAPartDoesNotStop(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := make(chan struct{})
	defer close(release)
	err := service.Run(ctx, discard, 10*time.Millisecond, service.Part{Name: "stuck", Run: func(context.Context) error { <-release; return nil }})
	require.ErrorContains(t, err, "stuck did not stop")
}

func serveAPI(l net.Listener, h http.Handler, health *service.Health) service.Part {
	return service.Config{MaxConnections: 100}.ServeAPI(l, h, health, service.NewRegistry())
}

// serve serves an engine of the package on a real listener.
func serve(t *testing.T, log io.Writer, health *service.Health, routes func(*gin.Engine)) (url string, stop func() error) {
	t.Helper()
	l, err := service.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	e := service.NewEngine(service.NewLogger(log, slog.LevelInfo, "test"), service.NewRegistry(), health)
	routes(e)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- serveAPI(l, e, health).Run(ctx) }()
	t.Cleanup(cancel)
	return "http://" + l.Addr().String(), func() error {
		cancel()
		return <-done
	}
}

func get(t *testing.T, method, url, id string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	require.NoError(t, err)
	if id != "" {
		req.Header.Set(service.RequestIDHeader, id)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

func TestEngine(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	url, stop := serve(t, &log, &service.Health{}, func(e *gin.Engine) {
		service.Handle(e, http.MethodGet, "/things/:id", func(c *gin.Context) { c.String(http.StatusOK, c.Param("id")) })
		service.Handle(e, http.MethodGet, "/panic", func(*gin.Context) { panic("ouch") })
	})
	for path, want := range map[string]string{"/things/1": "1", "/things/1/": "1"} {
		resp, body := get(t, http.MethodGet, url+path, "my-id")
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, want, body)
		require.Equal(t, []string{"my-id"}, resp.Header.Values(service.RequestIDHeader))
	}
	for _, tc := range []struct {
		method, path string
		status       int
	}{{http.MethodGet, "/nothing", 404}, {http.MethodDelete, "/things/1", 405}, {http.MethodGet, "/panic", 500}} {
		resp, body := get(t, tc.method, url+tc.path, strings.Repeat("x", 65)) // too long for a request id: it is replaced
		require.Equal(t, tc.status, resp.StatusCode, body)
		require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
		id := resp.Header.Get(service.RequestIDHeader)
		require.Len(t, id, 36)
		require.Contains(t, body, id)
		require.NotContains(t, body, "ouch")
	}
	require.NoError(t, stop())
	require.Equal(t, 1, strings.Count(log.String(), "ouch"), "logged once")
	require.Contains(t, log.String(), `"request_id"`)
	require.Regexp(t, `"time":"[^"]+(Z|[+-]\d\d:\d\d)"`, log.String(), "with a time zone")
}

// HEAD returns the status and headers of GET, without the body, on every path.
func TestHeadMatchesGetWithoutTheBody(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, io.Discard, &service.Health{}, func(e *gin.Engine) {
		service.Handle(e, http.MethodGet, "/things/:id", func(c *gin.Context) { c.String(http.StatusOK, strings.Repeat(c.Param("id"), 3)) })
		service.Handle(e, http.MethodGet, "/refused", func(c *gin.Context) { problem.Write(c, problem.Unavailable("not now")) })
		service.Handle(e, http.MethodPost, "/things", func(c *gin.Context) { c.Status(http.StatusCreated) })
	})
	for _, path := range []string{"/things/1", "/things/1/", "/refused", "/livez", "/livez/", "/readyz", "/readyz/", "/nothing"} {
		want, body := get(t, http.MethodGet, url+path, "me")
		got, none := get(t, http.MethodHead, url+path, "me")
		require.NotEmpty(t, body)
		require.Empty(t, none)
		require.Equal(t, want.StatusCode, got.StatusCode, path)
		want.Header.Del("Date")
		got.Header.Del("Date")
		require.Equal(t, want.Header, got.Header, path)
	}
	for method, path := range map[string]string{http.MethodHead: "/things", http.MethodDelete: "/things/1", "PROPFIND": "/things/1"} {
		resp, _ := get(t, method, url+path, "")
		require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
		require.Equal(t, map[string]string{"/things": "POST", "/things/1": "GET, HEAD"}[path], resp.Header.Get("Allow"))
	}
}

// A response that a panic interrupts must look incomplete to the client.
func TestInterruptedResponseIsAborted(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	url, stop := serve(t, &log, &service.Health{}, func(e *gin.Engine) {
		for path, cause := range map[string]any{"/aborted": http.ErrAbortHandler, "/panic": "ouch"} {
			e.GET(path, func(c *gin.Context) {
				c.String(http.StatusOK, "half an ")
				c.Writer.Flush()
				panic(cause)
			})
		}
	})
	for _, path := range []string{"/aborted", "/panic"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, http.NoBody)
		require.NoError(t, err)
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, path)
		require.Equal(t, "half an ", string(body))
		require.NoError(t, resp.Body.Close())
	}
	require.NoError(t, stop())
	require.Equal(t, 1, strings.Count(log.String(), `"msg":"http: handler panicked"`), "http.ErrAbortHandler must not be logged")
}

func TestShutdownWaitsForRequestsInFlight(t *testing.T) {
	t.Parallel()
	inFlight, release := make(chan struct{}), make(chan struct{})
	url, stop := serve(t, io.Discard, &service.Health{}, func(e *gin.Engine) {
		e.GET("/slow", func(c *gin.Context) { close(inFlight); <-release; c.String(http.StatusOK, "done") })
	})
	response := make(chan string, 1)
	go func() {
		resp, err := http.Get(url + "/slow") //nolint:noctx // bounded by the test
		if err != nil {
			response <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		response <- string(body)
	}()
	<-inFlight
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	close(release)
	require.Equal(t, "done", <-response)
	require.NoError(t, <-stopped)
}
