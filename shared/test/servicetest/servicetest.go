// Package servicetest runs a complete service in a test, like its main function, with the
// database and the virtual host of that test.
package servicetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/test/contracttest"
)

// Service is a running service.
type Service struct {
	URL     string // base URL of the API
	Metrics string // URL of /metrics
	// Registry receives the registry of the metrics when the service starts.
	Registry <-chan *prometheus.Registry
	ended    <-chan struct{}
	stop     func() (exit int)
	t        testing.TB
}

// Start runs p with the given DATABASE_URL and AMQP_URL, and with settings: alternating
// names and values of environment variables. It does not wait until the service is ready
// (see [Service.Ready]). The service runs until [Service.Stop] or the end of the test.
func Start(t testing.TB, p service.Program, databaseURL, amqpURL string, settings ...string) *Service {
	t.Helper()
	api, metrics := listen(t), listen(t)
	environ := map[string]string{
		"HTTP_ADDR": api.Addr().String(), "METRICS_ADDR": metrics.Addr().String(),
		"DATABASE_URL": databaseURL, "AMQP_URL": amqpURL, "DRAIN_TIMEOUT": "30s",
	}
	for i := 0; i < len(settings); i += 2 {
		environ[settings[i]] = settings[i+1]
	}
	// The service gets open listeners. If it got only a free port number, another process
	// could bind that port first.
	p.Frame.ListenFunc = func(_ context.Context, addr string) (net.Listener, error) {
		for _, l := range []net.Listener{api, metrics} {
			if l.Addr().String() == addr {
				return l, nil
			}
		}
		return nil, fmt.Errorf("listen: the test has no listener for %s", addr)
	}
	registry := make(chan *prometheus.Registry, 1)
	p.Frame.RegistryFunc = func(r *prometheus.Registry) { registry <- r }
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var log LogBuffer
	ended := make(chan struct{})
	exit := 0
	go func() {
		defer close(ended)
		exit = p.Run(ctx, nil, environ, &log)
		// A service that failed early has not closed its listeners, and clients would wait for
		// a response.
		_, _ = api.Close(), metrics.Close()
	}()
	s := &Service{
		URL: "http://" + api.Addr().String(), Metrics: "http://" + metrics.Addr().String() + "/metrics", Registry: registry, ended: ended, t: t,
		stop: func() int { cancel(); <-ended; return exit },
	}
	t.Cleanup(func() {
		assert.Zero(t, s.stop(), "the service did not stop cleanly")
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return s
}

// Stop stops the service, like SIGTERM, and fails the test if the exit code is not 0.
func (s *Service) Stop() {
	s.t.Helper()
	require.Zero(s.t, s.stop(), "the service did not stop cleanly")
}

// Ready waits until the status of the service is ready.
func (s *Service) Ready(t testing.TB) *Service {
	t.Helper()
	s.waitFor(t, `"ready"`)
	return s
}

// Degraded waits until the status of the service is degraded, for example because the
// broker is down.
func (s *Service) Degraded(t testing.TB) *Service {
	t.Helper()
	s.waitFor(t, `"degraded"`)
	return s
}

func (s *Service) waitFor(t testing.TB, status string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience) // the listener accepts connections before the service responds
	defer cancel()
	Eventually(t, func() bool {
		a, err := s.Do(ctx, http.MethodGet, "/readyz", "")
		if err == nil && strings.Contains(a.Body, status) {
			return true
		}
		select {
		case <-s.ended:
			require.Fail(t, "the service has stopped")
		default:
		}
		return false
	}, "the service is not %s", status)
}

// Answer is the response of a service.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Send sends a request and returns the response, which must conform to the API contract. A
// body that is not empty is JSON. header contains alternating names and values.
func (s *Service) Send(t testing.TB, method, path, body string, header ...string) Answer {
	t.Helper()
	a, err := s.Do(t.Context(), method, path, body, header...)
	require.NoError(t, err)
	return a
}

// Call is like Send, but returns only the status and the body of the response.
func (s *Service) Call(t testing.TB, method, path, body string) (int, string) {
	t.Helper()
	a := s.Send(t, method, path, body)
	return a.Status, a.Body
}

// Get sends a GET request, requires status 200 and decodes the body into v.
func (s *Service) Get(t testing.TB, path string, v any) {
	t.Helper()
	status, body := s.Call(t, http.MethodGet, path, "")
	require.Equal(t, http.StatusOK, status, body)
	require.NoError(t, json.Unmarshal([]byte(body), v))
}

// Do is like Send, but returns an error instead of failing the test, so that any goroutine
// can call it.
func (s *Service) Do(ctx context.Context, method, path, body string, header ...string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // does not follow redirects
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, err
	}
	return Answer{resp.StatusCode, resp.Header, string(b)}, contracttest.Verify(req, []byte(body), resp, b)
}

// Metric returns the value of a sample in /metrics. name includes the labels, as in the
// Prometheus text format.
func (s *Service) Metric(t testing.TB, name string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Metrics, http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(body)
	require.NotNil(t, m, "no %s in /metrics", name)
	v, err := strconv.ParseFloat(string(m[1]), 64)
	require.NoError(t, err)
	return v
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := service.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// LogBuffer is a buffer for a log that may be read and written concurrently.
type LogBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *LogBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns what was written so far.
func (b *LogBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
