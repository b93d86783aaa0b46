package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"gozon/shared/service"
)

// slow is the rate of a quota that no test waits for.
const slow rate.Limit = 0.01

func startWithLimits(t *testing.T, l clientLimits, h http.HandlerFunc) (*fixture, *backend) {
	t.Helper()
	b := serveAt(t, "127.0.0.1:0", h)
	return startAs(t, discard, unlimited, l, time.Minute, b), b
}

// from sends a request from the given loopback address.
func (f *fixture) from(t *testing.T, address, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), method, f.url+path, strings.NewReader("x"))
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// A client that exceeds a limit gets a 429 at once, and the service none of its requests. The
// limits do not affect each other, nor other clients.
func TestRequestsOfAClientAreLimited(t *testing.T) {
	t.Parallel()
	key := []string{"Idempotency-Key", "k"}
	for name, tc := range map[string]struct {
		limits         clientLimits
		method, policy string
		header         []string
		others         [][]string // method and header of requests that the limit does not affect
	}{
		"reads":  {clientLimits{reads: quota{slow, 3}}, http.MethodGet, `"reads";q=3;w=300`, nil, [][]string{{http.MethodPost}}},
		"writes": {clientLimits{writes: quota{slow, 3}}, http.MethodPost, `"writes";q=3;w=300`, key, [][]string{{http.MethodGet}}},
		"keys":   {clientLimits{keys: quota{slow, 3}}, http.MethodPost, `"keys";q=3;w=300`, key, [][]string{{http.MethodGet}, {http.MethodPost}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, backend := startWithLimits(t, tc.limits, echo)
			for range 3 {
				resp, body := f.from(t, "127.0.0.1", tc.method, "/orders", tc.header...)
				require.Equal(t, http.StatusOK, resp.StatusCode, body)
			}
			for range 20 {
				resp, body := f.from(t, "127.0.0.1", tc.method, "/orders", tc.header...)
				require.Equal(t, http.StatusTooManyRequests, resp.StatusCode, body)
				require.Contains(t, body, "/problems/too-many-requests")
				require.Contains(t, body, "nothing was done")
				require.Equal(t, tc.policy, resp.Header.Get("RateLimit-Policy"))
				require.Equal(t, fmt.Sprintf("%q;r=0;t=%s", name, resp.Header.Get("Retry-After")), resp.Header.Get("RateLimit"))
				require.Regexp(t, `^(9\d|100)$`, resp.Header.Get("Retry-After"), "the next request of the quota")
			}
			require.EqualValues(t, 3, backend.hits.Load())
			require.InDelta(t, 20, f.metric(t, "requests_limited_total"), 0)
			resp, body := f.from(t, "127.0.0.2", tc.method, "/orders", tc.header...)
			require.Equal(t, http.StatusOK, resp.StatusCode, body)
			for _, other := range tc.others {
				resp, body := f.from(t, "127.0.0.1", other[0], "/orders", other[1:]...)
				require.Equal(t, http.StatusOK, resp.StatusCode, body)
			}
		})
	}
}

// Clients behind a trusted proxy are counted one by one, and not by what they claim themselves.
func TestClientsOfATrustedProxyAreLimitedOneByOne(t *testing.T) {
	t.Parallel()
	var trusted proxies
	require.NoError(t, trusted.UnmarshalText([]byte("10.0.0.1")))
	l := newLimits(quota{slow, 1}, quota{}, quota{}, service.NewLimited(discard, service.NewRegistry()))
	engine := gin.New()
	engine.GET("/", newClients(trusted, nil, discard).identify, func(c *gin.Context) { l.admit(c) })
	for _, tc := range []struct {
		peer, forwarded string
		status          int
	}{
		{"10.0.0.1:1", "192.0.2.1", http.StatusOK},
		{"10.0.0.1:2", "192.0.2.2", http.StatusOK},
		{"10.0.0.1:3", "198.51.100.1, 192.0.2.1", http.StatusTooManyRequests},
		{"192.0.2.2:1", "198.51.100.2", http.StatusTooManyRequests},
		{"192.0.2.3:1", "192.0.2.1", http.StatusOK},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.RemoteAddr = tc.peer
		r.Header.Set("X-Forwarded-For", tc.forwarded)
		engine.ServeHTTP(w, r)
		require.Equal(t, tc.status, w.Code, tc)
	}
}

// The log neither grows with the refused requests nor conceals who sent them.
func TestRefusedClientsAreLoggedAtABoundedRate(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	b := serveAt(t, "127.0.0.1:0", echo)
	f := startAs(t, slog.New(slog.NewJSONHandler(&log, nil)), unlimited, clientLimits{writes: quota{slow, 1}}, time.Minute, b)
	for range 100 {
		f.from(t, "127.0.0.2", http.MethodPost, "/orders")
	}
	require.NoError(t, f.stop())
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), `"msg":"limits: refusing requests with 429"`)
	require.Contains(t, log.String(), `"limit":"writes"`)
	require.Contains(t, log.String(), `"last":"127.0.0.2"`)
}

func TestQuotaIsRefilled(t *testing.T) {
	t.Parallel()
	f, _ := startWithLimits(t, clientLimits{reads: quota{5, 1}}, echo)
	status := func() int {
		resp, _ := f.from(t, "127.0.0.1", http.MethodGet, "/orders")
		return resp.StatusCode
	}
	eventually(t, func() bool { return status() == http.StatusTooManyRequests })
	eventually(t, func() bool { return status() == http.StatusOK })
}

// A stream counts until its client closes it. A stream that is refused does not count.
func TestStreamsOfAClientAreLimited(t *testing.T) {
	t.Parallel()
	f, _ := startWithLimits(t, clientLimits{streams: 2}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	open := func() *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/orders/events", http.NoBody)
		require.NoError(t, err)
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	require.Equal(t, http.StatusOK, open().StatusCode)
	second := open()
	require.Equal(t, http.StatusOK, second.StatusCode)
	for range 3 {
		resp, body := f.call(t, http.MethodGet, "/orders/events", http.NoBody)
		require.Equal(t, http.StatusTooManyRequests, resp.StatusCode, body)
		require.Contains(t, body, "/problems/too-many-requests")
		require.Equal(t, `"streams";q=2;qu="concurrent-requests"`, resp.Header.Get("RateLimit-Policy"))
		require.Equal(t, `"streams";r=0`, resp.Header.Get("RateLimit"))
		require.Equal(t, "1", resp.Header.Get("Retry-After"))
	}
	require.NoError(t, second.Body.Close())
	eventually(t, func() bool { return open().StatusCode == http.StatusOK })
	resp, body := f.call(t, http.MethodGet, "/orders/events", http.NoBody)
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode, body)
}

// However many clients there are, the table has a bounded size, and a new client is admitted.
func TestTableOfClientsIsBounded(t *testing.T) {
	t.Parallel()
	l := newLimits(quota{slow, 1}, quota{}, quota{}, nil)
	first := l.bucketsOf("first")
	require.True(t, first[limitReads].Allow())
	for i := range maxClients - 1 {
		l.bucketsOf(fmt.Sprint("client ", i))
	}
	require.Same(t, first, l.bucketsOf("first"), "the table is full, but no client was forgotten")
	for i := range maxClients {
		require.True(t, l.bucketsOf(fmt.Sprint("another client ", i))[limitReads].Allow())
	}
	require.Equal(t, maxClients, l.clients.Len())
	require.NotSame(t, first, l.bucketsOf("first"), "a client that was idle for longest is forgotten")
}

func TestClientIsAnAddressOrANetwork(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.1:80":            "192.0.2.1",
		"[::ffff:192.0.2.1]:80":   "192.0.2.1",
		"[2001:db8:1:2:3::4]:80":  "2001:db8:1:2::/64",
		"[2001:db8:1:2:ff::4]:80": "2001:db8:1:2::/64",
		"[2001:db8:1:3::4]:80":    "2001:db8:1:3::/64",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.RemoteAddr = remote
		require.Equal(t, want, clientName(r))
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]quota{"off": {}, "20/s burst 400": {20, 400}, "0.5/s burst 1": {0.5, 1}} {
		got := quota{1, 1}
		require.NoError(t, got.UnmarshalText([]byte(text)))
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "20", "20/s", "20/s burst 0", "20/s burst x", "0/s burst 1", "-1/s burst 1", "Inf/s burst 1", "NaN/s burst 1", "20/s burst 400 "} {
		require.Error(t, new(quota).UnmarshalText([]byte(text)), text)
	}
	require.Equal(t, `"keys";q=2000;w=1000`, quota{2, 2000}.policy("keys"))
	require.Equal(t, `"keys";q=1;w=1`, quota{math.MaxInt32, 1}.policy("keys"))
}
