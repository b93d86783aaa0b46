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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gozon/shared/service"
)

const (
	maxTestStreams = 8
	testBudget     = 4 * (64<<10 + 1) // four bodies of unknown length
)

var discard = slog.New(slog.DiscardHandler)

// backend is a replica of a service: a real HTTP server on its own address.
type backend struct {
	hits     atomic.Int64
	srv      *http.Server
	listener net.Listener
	addr     netip.AddrPort
}

// stop looks like a crash to the gateway. It closes the listener too, which the server does
// not know before it serves.
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
	go func() { _ = srv.Serve(b.listener) }() // returns when the test closes the server
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

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), body)
}

// fixture is a gateway that forwards /orders to the given replicas. The replicas share a
// port.
type fixture struct {
	url       string
	up        *upstream
	admission *admission
	bodies    *bodies
	stop      func() error // shuts the gateway down as SIGTERM does
	reg       *prometheus.Registry

	mu       sync.Mutex
	replicas []netip.Addr
	err      error
}

func start(t testing.TB, timeout time.Duration, replicas ...*backend) *fixture {
	t.Helper()
	return startLogging(t, discard, timeout, replicas...)
}

func startLogging(t testing.TB, log *slog.Logger, timeout time.Duration, replicas ...*backend) *fixture {
	t.Helper()
	return startLimited(t, log, unlimited, timeout, replicas...)
}

// unlimited is a limit of requests in flight that no test reaches.
const unlimited = 1 << 20

func unlimitedAdmission(name string) *admission {
	reg := prometheus.NewRegistry()
	return newAdmission(name, unlimited, reg, service.NewRefusals(discard, reg))
}

func startLimited(t testing.TB, log *slog.Logger, limit int, timeout time.Duration, replicas ...*backend) *fixture {
	t.Helper()
	return startAs(t, log, limit, clientLimits{}, timeout, replicas...)
}

// clientLimits are the limits of each client. The zero value is none.
type clientLimits struct {
	reads, writes, keys quota
	streams             int
}

// off limits no client.
var off = newLimits(quota{}, quota{}, quota{}, nil)

func startAs(t testing.TB, log *slog.Logger, limit int, perClient clientLimits, timeout time.Duration, replicas ...*backend) *fixture {
	t.Helper()
	reg, health := service.NewRegistry(), &service.Health{}
	f := &fixture{reg: reg, bodies: newBodies(64<<10, testBudget)}
	m := newMetrics(reg)
	target, err := url.Parse(fmt.Sprintf("http://orders:%d", replicas[0].addr.Port()))
	require.NoError(t, err)
	f.up = newUpstream(target, func(context.Context, string, string) ([]netip.Addr, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.replicas, f.err
	}, m)
	health.Add("orders", service.Degrading, f.up.ready)
	f.setLookup(t, nil, replicas...)
	engine := service.NewEngine(log, reg, health, newClients(proxies{}, nil, log).identify, newGuard(allowedHosts{"a", "shop"}).check)
	limited := service.NewLimited(log, reg)
	streams := newStreams(maxTestStreams, perClient.streams, log, limited)
	f.admission = newAdmission("orders", limit, reg, service.NewRefusals(log, reg))
	registerProxies(engine, map[string]*proxy{"/orders": newProxy(f.up, f.admission, timeout, streams, log, m)},
		newLimits(perClient.reads, perClient.writes, perClient.keys, limited), f.bodies)
	l, err := service.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	f.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- service.Run(ctx, discard, time.Minute,
			service.Part{Name: "streams", Run: func(ctx context.Context) error { return streams.run(ctx, health.Done()) }},
			service.Config{MaxConnections: 1000}.ServeAPI(l, engine, health, reg))
	}()
	f.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(cancel)
	return f
}

// setLookup sets the result of the replica lookup and runs a lookup.
func (f *fixture) setLookup(t testing.TB, err error, replicas ...*backend) {
	t.Helper()
	f.mu.Lock()
	f.replicas, f.err = nil, err
	for _, r := range replicas {
		f.replicas = append(f.replicas, r.addr.Addr())
	}
	f.mu.Unlock()
	require.ErrorIs(t, f.up.resolve(t.Context()), err)
}

func (f *fixture) call(t testing.TB, method, path string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.url+path, body)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	respBody, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(respBody)
}

// eventually waits until condition is true.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	for start := time.Now(); !condition(); <-time.After(time.Millisecond) {
		require.Less(t, time.Since(start), time.Minute, "the condition did not become true in time")
	}
}

// retries returns the value of the metric upstream_retries_total.
func (f *fixture) retries(t *testing.T) int {
	t.Helper()
	return int(f.metric(t, "upstream_retries_total"))
}

// metric returns the value of the first sample of a counter, 0 if there is none.
func (f *fixture) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := f.reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}
