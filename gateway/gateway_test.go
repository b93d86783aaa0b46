package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gozon/shared/service"
)

var discard = slog.New(slog.DiscardHandler)

// backend is a real service on an address of its own.
type backend struct {
	hits     atomic.Int64
	srv      *http.Server
	listener net.Listener
	addr     netip.AddrPort
}

// stop is a crash, as far as the gateway can tell. A server that does not serve yet does
// not know its listener.
func (b *backend) stop() { _, _ = b.srv.Close(), b.listener.Close() }

func listen(t testing.TB, addr string) *backend {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	require.NoError(t, err)
	b := &backend{listener: l, addr: netip.MustParseAddrPort(l.Addr().String())}
	return b
}

func (b *backend) serve(t testing.TB, srv *http.Server) {
	t.Helper()
	b.srv = srv
	go func() { _ = srv.Serve(b.listener) }() // it ends when the test closes it
	t.Cleanup(b.stop)
}

func serveAt(t testing.TB, addr string, h http.HandlerFunc) *backend {
	t.Helper()
	b := listen(t, addr)
	b.serve(t, &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.hits.Add(1)
		h(w, r)
	})})
	return b
}

// gateway is the gateway's engine in front of /orders at the given replicas, which
// share a port.
type gateway struct {
	url  string
	up   *upstream
	stop func() error // as SIGTERM would
	reg  *prometheus.Registry

	mu       sync.Mutex
	replicas []netip.Addr
	err      error
}

func (g *gateway) set(t testing.TB, err error, replicas ...*backend) {
	t.Helper()
	g.mu.Lock()
	g.replicas, g.err = nil, err
	for _, r := range replicas {
		g.replicas = append(g.replicas, r.addr.Addr())
	}
	g.mu.Unlock()
	require.ErrorIs(t, g.up.resolve(t.Context()), err)
}

func start(t testing.TB, timeout time.Duration, replicas ...*backend) *gateway {
	t.Helper()
	return startLogging(t, discard, timeout, replicas...)
}

func startLogging(t testing.TB, log *slog.Logger, timeout time.Duration, replicas ...*backend) *gateway {
	t.Helper()
	reg, health := service.NewRegistry(), &service.Health{}
	g := &gateway{reg: reg}
	m := newMetrics(reg)
	target, err := url.Parse(fmt.Sprintf("http://orders:%d", replicas[0].addr.Port()))
	require.NoError(t, err)
	g.up = newUpstream(target, func(context.Context, string, string) ([]netip.Addr, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.replicas, g.err
	}, m)
	health.Add("orders", service.Degrading, g.up.ready)
	g.set(t, nil, replicas...)
	engine := service.NewEngine(log, reg, health)
	register(engine, map[string]http.Handler{"/orders": newProxy(g.up, timeout, health.Done(), log, m)}, 64<<10)
	l, err := service.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	g.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.ServeHTTP(l, engine, health).Run(ctx) }()
	g.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(cancel)
	return g
}

func (g *gateway) call(t testing.TB, method, path string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.url+path, body)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(answer)
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), body)
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	for text, wrong := range map[string]string{
		"/orders=http://orders:8080, /accounts=http://payments:8080": "",
		"":                                 "not prefix=URL",
		"/orders":                          "not prefix=URL",
		"orders=http://orders":             "one path segment",
		"/a/b=http://orders":               "one path segment",
		"/=http://orders":                  "one path segment",
		"/a=http://orders,/a=http://other": "stands twice",
		"/a=https://orders":                "http://host:port",
		"/a=http://orders/path":            "http://host:port",
		"/a=orders:8080":                   "http://host:port",
	} {
		var rs routes
		err := rs.UnmarshalText([]byte(text))
		if wrong == "" {
			require.NoError(t, err)
			require.Len(t, rs, 2)
			continue
		}
		require.ErrorContains(t, err, wrong, text)
	}
}

func TestRequestsPassUnchanged(t *testing.T) {
	t.Parallel()
	g := start(t, time.Minute, serveAt(t, "127.0.0.1:0", echo))
	for _, path := range []string{"/orders", "/orders/", "/orders?user_id=1", "/orders/a%2Fb/c/?x=%20y"} {
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			resp, body := g.call(t, method, path, strings.NewReader("hello"))
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, method+" "+path+" hello", body)
		}
	}
	// A method is the service's to refuse: it knows which methods a path has.
	for _, method := range []string{"PROPFIND", "FOO", http.MethodTrace, http.MethodOptions, http.MethodConnect} {
		resp, body := g.call(t, method, "/orders/x", http.NoBody)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, method+" /orders/x ", body)
		require.Empty(t, resp.Header.Get("Allow"))
	}
	resp, body := g.call(t, "PROPFIND", "/readyz", http.NoBody)
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	require.Contains(t, body, "/problems/method-not-allowed")
	resp, _ = g.call(t, http.MethodGet, "/ordersx", http.NoBody)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	g := start(t, time.Minute, serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		w.Header().Set("X-Request-Id", r.Header.Get("X-Request-Id"))
	}))
	resp, _ := g.call(t, http.MethodGet, "/orders", http.NoBody, "X-Request-Id", "mine", "X-Forwarded-For", "6.6.6.6", "Te", "x", "Connection", "X-Secret", "X-Secret", "s")
	h := <-seen
	require.Equal(t, []string{"mine"}, h.Values("X-Request-Id"))
	require.Equal(t, []string{"mine"}, resp.Header.Values("X-Request-Id"))
	require.Equal(t, "127.0.0.1", h.Get("X-Forwarded-For"))
	require.Empty(t, h.Get("X-Secret"), "hop by hop")
	// The id is this hop's own, so a client cannot have it dropped, or two ids for one request.
	resp, _ = g.call(t, http.MethodGet, "/orders", http.NoBody, "X-Request-Id", "mine", "Connection", "X-Request-Id, X-Forwarded-For")
	h = <-seen
	require.Equal(t, []string{"mine"}, h.Values("X-Request-Id"))
	require.Equal(t, []string{"mine"}, resp.Header.Values("X-Request-Id"))
	require.Equal(t, "127.0.0.1", h.Get("X-Forwarded-For"))
	resp, _ = g.call(t, http.MethodGet, "/orders", http.NoBody, "Connection", "X-Request-Id")
	require.Equal(t, resp.Header.Values("X-Request-Id"), (<-seen).Values("X-Request-Id"))
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	b := serveAt(t, "127.0.0.1:0", echo)
	g := start(t, time.Minute, b)
	whole := strings.Repeat("x", 64<<10)
	resp, _ := g.call(t, http.MethodPost, "/orders", strings.NewReader(whole))
	require.Equal(t, http.StatusOK, resp.StatusCode)
	for name, body := range map[string]io.Reader{"by length": strings.NewReader(whole + "x"), "chunked": io.MultiReader(strings.NewReader(whole + "x"))} {
		resp, answer := g.call(t, http.MethodPost, "/orders", body)
		require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode, name)
		require.Contains(t, answer, "/problems/body-too-large")
	}
	require.EqualValues(t, 1, b.hits.Load(), "the service was not bothered")
}

func TestNobodyThereIs502AndSafeToRetry(t *testing.T) {
	t.Parallel()
	b := serveAt(t, "127.0.0.1:0", echo)
	g := start(t, time.Minute, b)
	b.stop()
	resp, body := g.call(t, http.MethodPost, "/orders", strings.NewReader("x"))
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Contains(t, body, "/problems/upstream-unavailable")
	_, ready := g.call(t, http.MethodGet, "/readyz", http.NoBody)
	require.Contains(t, ready, `"degraded"`)
}

func TestNoAnswerInTimeIs504(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	g := start(t, 50*time.Millisecond, serveAt(t, "127.0.0.1:0", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		close(gone)
	}))
	resp, body := g.call(t, http.MethodPost, "/orders", strings.NewReader("x"))
	require.Equal(t, http.StatusGatewayTimeout, resp.StatusCode)
	require.Contains(t, body, "/problems/outcome-unknown")
	<-gone // and the service was told
}

func TestPostThatBrokeOffIsSentOnceAndGetTwice(t *testing.T) {
	t.Parallel()
	broken := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}
	first := serveAt(t, "127.0.0.1:0", broken)
	second := serveAt(t, fmt.Sprintf("127.0.0.2:%d", first.addr.Port()), broken)
	g := start(t, time.Minute, first, second)
	resp, body := g.call(t, http.MethodPost, "/orders", strings.NewReader("x"))
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Contains(t, body, "/problems/outcome-unknown")
	require.EqualValues(t, 1, first.hits.Load()+second.hits.Load())
	resp, body = g.call(t, http.MethodGet, "/orders", http.NoBody)
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Contains(t, body, "/problems/upstream-unavailable")
	require.EqualValues(t, 3, first.hits.Load()+second.hits.Load())
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	a := serveAt(t, "127.0.0.1:0", echo)
	b := serveAt(t, fmt.Sprintf("127.0.0.2:%d", a.addr.Port()), echo)
	g := start(t, time.Minute, a, b)
	each := func(n int, method string) {
		for range n {
			resp, body := g.call(t, method, "/orders", strings.NewReader("x"))
			require.Equal(t, http.StatusOK, resp.StatusCode, body)
		}
	}
	each(20, http.MethodPost)
	require.GreaterOrEqual(t, a.hits.Load(), int64(5), "spread")
	require.GreaterOrEqual(t, b.hits.Load(), int64(5), "spread")
	b.stop()
	// One is gone. A read that went out on a connection to it is sent again; after
	// that it cannot be connected to, nothing is sent, and not even a POST fails.
	each(20, http.MethodGet)
	each(20, http.MethodPost)
	g.set(t, io.ErrUnexpectedEOF)
	each(1, http.MethodPost) // a lookup that fails forgets nobody
	c := serveAt(t, fmt.Sprintf("127.0.0.3:%d", a.addr.Port()), echo)
	g.set(t, nil, a, c)
	each(10, http.MethodPost)
	require.Positive(t, c.hits.Load(), "a new one is noticed")
}
