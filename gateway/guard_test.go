package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
)

func TestOnlyAllowedHostsAreServed(t *testing.T) {
	t.Parallel()
	var hosts allowedHosts
	require.NoError(t, hosts.UnmarshalText([]byte("Shop.example, 192.0.2.1,,[2001:db8::1]")))
	g := newGuard(hosts)
	for host, want := range map[string]bool{
		"localhost": true, "localhost:8080": true, "127.0.0.1:1": true, "[::1]": true, "[::1]:8080": true, "LOCALHOST.": true,
		"shop.example": true, "SHOP.example:443": true, "192.0.2.1": true, "[2001:db8::1]:80": true,
		"": false, "evil.example": false, "shop.example.evil.example": false, "evil.shop.example": false, "localhost.evil": false,
		"127.0.0.1.nip.io": false, "127.0.0.2": false, "evil@localhost": false, "localhost@evil": false, ":8080": false, "[::1": false,
	} {
		require.Equal(t, want, g.allows(&http.Request{Host: host, ProtoMajor: 1, ProtoMinor: 1}), host)
	}
	require.True(t, g.allows(&http.Request{ProtoMajor: 1}), "HTTP/1.0 does not require a Host header")
	for _, text := range []string{"*", "*.example", "shop:80", "2001:db8::1", "http://shop", "two words", "user@shop"} {
		require.Error(t, new(allowedHosts).UnmarshalText([]byte(text)), text)
	}
}

// A foreign host name is refused before anything else is looked at.
func TestForeignHostIs421(t *testing.T) {
	t.Parallel()
	b := serveAt(t, "127.0.0.1:0", echo)
	f := start(t, time.Minute, b)
	for _, request := range []string{
		"GET /orders HTTP/1.1\r\nHost: evil\r\n\r\n", "POST /orders//x HTTP/1.1\r\nHost: evil\r\nContent-Length: 100000\r\n\r\n",
		"GET /nothing HTTP/1.1\r\nHost: evil\r\n\r\n", "TRACE /docs HTTP/1.1\r\nHost: evil\r\n\r\n", "GET /readyz HTTP/1.1\r\nHost: evil\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: evil\r\n\r\n", "GET http://evil/orders HTTP/1.1\r\nHost: localhost\r\n\r\n", "CONNECT evil:80 HTTP/1.1\r\nHost: evil:80\r\n\r\n",
	} {
		resp := sendRaw(t, f.url, request)
		require.Equal(t, http.StatusMisdirectedRequest, resp.StatusCode, request)
		require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	}
	require.Zero(t, b.hits.Load())
}

func TestAmbiguousPathsAreRefused(t *testing.T) {
	t.Parallel()
	b := serveAt(t, "127.0.0.1:0", echo)
	f := start(t, time.Minute, b)
	for _, path := range []string{
		"//", "//orders", "/orders//", "/orders//x", "/./orders", "/orders/.", "/orders/..", "/orders/../metrics", "/orders/%2e%2E/x", "/orders/.%2e",
		"/orders%2fx", "/orders%2Fx", "/orders/%5cx", "/orders/\\x", "/orders/%00", "/orders/%0a", "/orders/%1F", "/orders/%7f", "/orders#x",
		"/orders/\"%2f", "http://localhost//orders",
	} {
		require.Equal(t, http.StatusBadRequest, sendRaw(t, f.url, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n").StatusCode, path)
	}
	require.Zero(t, b.hits.Load())
	for _, path := range []string{
		"/orders", "/orders/", "/orders/a.b", "/orders/...", "/orders/.x", "/orders/a..b", "/orders/%41%20", "/orders/%23", "/orders/%252f",
		"/orders/%3f", "/orders/%c3%a4", "/orders?x=//../%2f%00", "/%6frders", "http://localhost/orders",
	} {
		require.Equal(t, http.StatusOK, sendRaw(t, f.url, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n").StatusCode, path)
	}
}

// A page of another site cannot make a browser change anything.
func TestCrossSiteRequestsAreRefused(t *testing.T) {
	t.Parallel()
	b := serveAt(t, "127.0.0.1:0", echo)
	f := start(t, time.Minute, b)
	own := f.url
	other := own[:strings.LastIndex(own, ":")] + ":1"
	for _, tc := range []struct {
		method string
		header []string
		status int
	}{
		{http.MethodPost, nil, http.StatusOK}, // not a browser
		{http.MethodPost, []string{"Sec-Fetch-Site", "same-origin", "Origin", own}, http.StatusOK},
		{http.MethodPost, []string{"Sec-Fetch-Site", "none"}, http.StatusOK},
		{http.MethodPost, []string{"Origin", own}, http.StatusOK}, // a browser without Sec-Fetch-Site
		{http.MethodGet, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusOK},
		{http.MethodPost, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{http.MethodPost, []string{"Sec-Fetch-Site", "same-site", "Origin", other}, http.StatusForbidden},
		{http.MethodPost, []string{"Origin", other}, http.StatusForbidden},
		{http.MethodPost, []string{"Origin", "null"}, http.StatusForbidden},
		{http.MethodDelete, []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		{"FOO", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
	} {
		before := b.hits.Load()
		resp, body := f.call(t, tc.method, "/orders/x/cancel", http.NoBody, tc.header...)
		require.Equal(t, tc.status, resp.StatusCode, "%v", tc)
		if tc.status == http.StatusForbidden {
			require.Contains(t, body, `"type":"/problems/cross-site-request"`)
			require.Equal(t, before, b.hits.Load())
		}
	}
}

// Responses are protected by headers, those of services and of the gateway itself. A service
// may set its own.
func TestResponsesHaveProtectiveHeaders(t *testing.T) {
	t.Parallel()
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/orders/early" {
			w.Header().Set("Link", "</x>")
			w.WriteHeader(http.StatusEarlyHints)
		}
		if r.URL.Path == "/orders/cached" {
			w.Header().Set("Cache-Control", "no-cache")
		}
	}))
	for path, caching := range map[string]string{
		"/orders": "no-store", "/orders/early": "no-store", "/orders/cached": "no-cache", "/nothing": "no-store", "/orders//": "no-store",
	} {
		resp, _ := f.call(t, http.MethodGet, path, http.NoBody)
		for name, want := range map[string]string{
			"Cache-Control": caching, "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			require.Equal(t, []string{want}, resp.Header.Values(name), path)
		}
	}
}

// The port of the API serves probes only to the health check of its own container, and
// neither metrics nor profiles.
func TestProbesAreNotPublic(t *testing.T) {
	t.Parallel()
	engine := service.NewEngine(discard, service.NewRegistry(), &service.Health{}, newGuard(nil).check)
	for _, tc := range []struct {
		peer, path string
		status     int
	}{
		{"127.0.0.1:1", "/readyz", http.StatusOK},
		{"[::1]:1", "/livez/", http.StatusOK},
		{"172.18.0.1:1", "/readyz", http.StatusNotFound},
		{"172.18.0.1:1", "/livez/", http.StatusNotFound},
		{"172.18.0.1:1", "/read%79z", http.StatusNotFound},
		{"172.18.0.1:1", "/metrics", http.StatusNotFound},
		{"127.0.0.1:1", "/metrics", http.StatusNotFound},
		{"127.0.0.1:1", "/debug/pprof/", http.StatusNotFound},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+tc.path, http.NoBody)
		r.RemoteAddr = tc.peer
		r.Header.Set("X-Forwarded-For", "127.0.0.1")
		engine.ServeHTTP(w, r)
		require.Equal(t, tc.status, w.Code, "%v", tc)
	}
}
