package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/web/problem"
)

const (
	paymentsReport = `{"checked_at":"2025-11-24T12:00:00Z","money_in":1000,"balances":0.01,"shop":999.99,"payments":{
		"succeeded":{"count":1,"sum":999.99},"failed":{"count":0,"sum":0},"voided":{"count":0,"sum":0},"refunded":{"count":0,"sum":0}},"differences":[%s]}`
	ordersReport = `{"checked_at":"2025-11-24T12:00:01Z","orders":{"NEW":{"count":2,"sum":5},"PAID":{"count":1,"sum":999.99},
		"CANCELLING":{"count":0,"sum":0},"CANCELLED":{"count":0,"sum":0}},"in_flight":2,"overdue":1,"compared_at":null,"differences":[%s]}`
)

// report responds to an audit, and fails any other request.
func report(format, differences string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/audit" || r.Header.Get("X-Request-Id") == "" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		if r.URL.RawQuery != "" {
			differences = `{"id":"` + r.URL.RawQuery + `","kind":"query","detail":"x"}`
		}
		fmt.Fprintf(w, format, differences)
	}
}

// serveAudit starts a gateway with the two services.
func serveAudit(t *testing.T, orders, payments *backend) (call func(method, path string) (*http.Response, string)) {
	t.Helper()
	reg := service.NewRegistry()
	m, streams, engine := newMetrics(reg), newStreams(maxTestStreams, 0, discard, nil), service.NewEngine(discard, reg, &service.Health{})
	proxies := map[string]*proxy{}
	for prefix, b := range map[string]*backend{"/orders": orders, "/accounts": payments} {
		target, err := url.Parse("http://" + b.addr.String())
		require.NoError(t, err)
		up := newUpstream(target, func(context.Context, string, string) ([]netip.Addr, error) { return []netip.Addr{b.addr.Addr()}, nil }, m)
		require.NoError(t, up.resolve(t.Context()))
		proxies[prefix] = newProxy(up, unlimitedAdmission(up.name), 200*time.Millisecond, streams, discard, m)
	}
	registerProxies(engine, proxies, off, newBodies(64<<10, testBudget))
	registerAudit(engine, proxies["/orders"], proxies["/accounts"], off)
	srv := httptest.NewServer(engine)
	t.Cleanup(srv.Close)
	return func(method, path string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, http.NoBody)
		require.NoError(t, err)
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp, string(body)
	}
}

func TestAuditJoinsReports(t *testing.T) {
	t.Parallel()
	const first, second = `{"id":"1/2","kind":"balance","detail":"x"}`, `{"id":"019ab3f2-7d1e-7a4b-9c1d-2e3f4a5b6c7d","kind":"no_order","detail":"y"}`
	for _, tc := range []struct{ payments, orders, want string }{
		{"", "", `"ok":true`}, {first, "", `"ok":false`}, {"", second, `"ok":false`}, {first, second, `"ok":false`},
	} {
		call := serveAudit(t, serveAt(t, "127.0.0.1:0", report(ordersReport, tc.orders)), serveAt(t, "127.0.0.1:0", report(paymentsReport, tc.payments)))
		for _, path := range []string{"/audit", "/audit/", "/audit?full=false"} {
			resp, body := call(http.MethodGet, path)
			require.Equal(t, http.StatusOK, resp.StatusCode, body)
			require.Contains(t, body, tc.want)
			require.Contains(t, body, `"checked_at":"2025-11-24T12:00:00Z","money_in":1000,"balances":0.01,"shop":999.99,`)
			require.Contains(t, body, `"in_flight":2,"overdue":1,`)
			var joined auditJSON
			require.NoError(t, json.Unmarshal([]byte(body), &joined))
			require.Len(t, joined.Differences, len(tc.payments)/len(first)+len(tc.orders)/len(second))
		}
		resp, body := call(http.MethodHead, "/audit")
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Empty(t, body)
		for _, method := range []string{http.MethodPost, http.MethodDelete, "PROPFIND"} {
			resp, body = call(method, "/audit")
			require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
			require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
			require.Contains(t, body, "/problems/method-not-allowed")
		}
	}
	call := serveAudit(t, serveAt(t, "127.0.0.1:0", report(ordersReport, "")), serveAt(t, "127.0.0.1:0", report(paymentsReport, "")))
	_, body := call(http.MethodGet, "/audit?full=true")
	require.Contains(t, body, `"differences":[{"id":"full=true","kind":"query","detail":"x"},{"id":"full=true"`, "both services get the parameter")
	resp, _ := call(http.MethodGet, "/audit?full=yes")
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	resp, _ = call(http.MethodGet, "/audit/x")
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

// If a service does not report, there is a problem, whatever the other one reports.
func TestAuditWithoutAServiceIsAProblem(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		handler http.HandlerFunc // nil: the service is down
		status  int
	}{
		"down":      {nil, http.StatusBadGateway},
		"crash":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, http.StatusBadGateway},
		"slow":      {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, http.StatusGatewayTimeout},
		"not found": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, http.StatusBadGateway},
		"no report": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, http.StatusBadGateway},
		"not JSON":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }, http.StatusBadGateway},
		"busy": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", problem.ContentType)
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintf(w, `{"type":"/problems/unavailable","title":"Temporarily unavailable","status":503,"detail":"busy","request_id":%q}`, r.Header.Get("X-Request-Id"))
		}, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, broken := range []string{"orders", "payments"} {
				handlers := map[string]http.HandlerFunc{"orders": report(ordersReport, ""), "payments": report(paymentsReport, "")}
				if tc.handler != nil {
					handlers[broken] = tc.handler
				}
				backends := map[string]*backend{"orders": serveAt(t, "127.0.0.1:0", handlers["orders"]), "payments": serveAt(t, "127.0.0.1:0", handlers["payments"])}
				if tc.handler == nil {
					backends[broken].stop()
				}
				call := serveAudit(t, backends["orders"], backends["payments"])
				resp, body := call(http.MethodGet, "/audit")
				require.Equal(t, tc.status, resp.StatusCode, body)
				require.Equal(t, problem.ContentType, resp.Header.Get("Content-Type"))
				resp, _ = call(http.MethodHead, "/audit")
				require.Equal(t, tc.status, resp.StatusCode)
			}
		})
	}
}
