//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/test/servicetest"
)

// Both entry points give the same response to a path that servers might disagree about.
func TestEntryPointsRefuseTheSamePaths(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"//", "///", "//orders", "//evil.example/orders", "/orders//", "/orders//1", "/index.html//", "/docs//",
		"/.", "/..", "/./", "/../", "/./orders", "/../orders", "/orders/.", "/orders/..", "/orders/./1", "/orders/../accounts/1", "/orders/../../metrics",
		"/%2e", "/%2e%2e/", "/.%2E/orders", "/%2E./orders", "/orders/%2e%2e", "/orders/%2E/1", "/orders/%2e%2e%2faccounts", "/orders/..?x", "/orders/.#x",
		"/orders%2f1", "/orders%2F1", "/%2forders", "/orders/1%2fcancel", "/orders/\"%2f", "/js%2fmain.js",
		"/orders%5c1", "/orders/%5C", "/orders\\1", "/orders/..\\x", "/orders/..%5c",
		"/orders/%00", "/%00", "/orders%00/1", "/index.html%00", "/orders/%01", "/orders/%0a", "/orders%0d%0aX:x", "/orders/%1F", "/orders/%7f", "/orders/%7F?x",
		"/orders#", "/orders#/../x", "/#", "/.problem//malformed-request", "/.problem/not-found/..",
		"http://localhost//orders", "http://localhost/orders/../x", "http://localhost/orders%2fx?y",
	} {
		for _, method := range []string{"GET", "POST", "PROPFIND", "TRACE"} {
			request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: refused\r\nAccept: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, path)
			page, pageBody := raw(t, shop.Page, request)
			gateway, gatewayBody := raw(t, shop.API, request)
			require.Equal(t, http.StatusBadRequest, gateway.StatusCode, request)
			require.Contains(t, gatewayBody, `"detail":"the path must not contain`, request)
			require.Equal(t, gateway.StatusCode, page.StatusCode, request)
			// nginx may refuse a path before it reads the X-Request-Id of the client.
			require.Equal(t, gatewayBody, strings.Replace(pageBody, page.Header.Get("X-Request-Id"), "refused", 1), request)
			for _, name := range []string{"Content-Type", "Cache-Control", "Content-Security-Policy", "X-Content-Type-Options"} {
				require.Len(t, page.Header.Values(name), 1, name)
				require.Equal(t, gateway.Header.Get(name), page.Header.Get(name), name)
			}
		}
	}
	atEntryPoints(t, func(t *testing.T, base string) {
		for path, status := range map[string]int{
			"/docs": 200, "/docs/": 200, "/docs?x=//../%2f%00": 200, "/%64ocs": 200, "/docs/.x": 404, "/docs/...": 404, "/orders/%23": 400, "/orders/%252f": 400,
			"/orders\x01": 400, "/orders\x7f": 400, "/orders%zz": 400, "orders": 400,
		} {
			resp, _ := raw(t, base, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			require.Equal(t, status, resp.StatusCode, "%q", path)
		}
	})
}

// Both entry points respond only to their own host names, which closes DNS rebinding.
func TestForeignHostsGet421(t *testing.T) {
	t.Parallel()
	try := func(t *testing.T, base, head string) (status int, body string) {
		t.Helper()
		resp, body := raw(t, base, head+"\r\nX-Request-Id: misdirected\r\nConnection: close\r\n\r\n")
		if resp.StatusCode == http.StatusMisdirectedRequest {
			require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
			require.Equal(t, []string{"no-store"}, resp.Header.Values("Cache-Control"))
			require.JSONEq(t, `{"type":"/problems/misdirected-request","title":"Misdirected request","status":421,"detail":"the shop has no such host name","request_id":"misdirected"}`, body)
		}
		return resp.StatusCode, body
	}
	atEntryPoints(t, func(t *testing.T, base string) {
		for _, host := range []string{"localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:80", "shop.example", "Shop.Example:8443", strings.TrimPrefix(base, "http://")} {
			status, body := try(t, base, "GET /docs HTTP/1.1\r\nHost: "+host)
			require.Equal(t, http.StatusOK, status, "%s: %s", host, body)
		}
		for _, host := range []string{"evil.example", "localhost.evil.example", "evil.shop.example", "127.0.0.1.nip.io", "10.0.0.1", "gateway:8080", "frontend"} {
			for _, line := range []string{
				"GET / HTTP/1.1", "GET /docs HTTP/1.1", "GET /index.html HTTP/1.1", "GET /orders?user_id=1 HTTP/1.0", "GET /nothing HTTP/1.1", "GET /orders//x HTTP/1.1",
				"POST /orders HTTP/1.1\r\nContent-Length: 70000", "GET /healthz HTTP/1.1", "GET /readyz HTTP/1.1", "TRACE /orders HTTP/1.1", "TRACE /x HTTP/1.1",
			} {
				status, _ := try(t, base, line+"\r\nHost: "+host)
				require.Equal(t, http.StatusMisdirectedRequest, status, "%s %s", host, line)
			}
		}
		status, _ := try(t, base, "GET http://evil.example/docs HTTP/1.1\r\nHost: localhost")
		require.Equal(t, http.StatusMisdirectedRequest, status)
	})
}

// A page of another site cannot cancel an order, and the page of the shop can, at both entry
// points.
func TestCrossSiteCancelIsRefused(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		user := newUser()
		require.Equal(t, http.StatusCreated, post(t, base+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":1}`, user)).status)
		o := settled(t, base, place(t, base, user, "1").ID)
		cancel := base + "/orders/" + o.ID + "/cancel"
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
			{"Sec-Fetch-Site", "same-site"},
			{"Origin", "https://evil.example"},
			{"Origin", "null"},
			{"Origin", "http://localhost:1"},
			{"Origin", "http://127.0.0.1"},
		} {
			a := call(t, http.MethodPost, cancel, "", "", header...)
			require.Equal(t, http.StatusForbidden, a.status, "%v %s", header, a.body)
			require.Contains(t, a.body, "/problems/cross-site-request")
		}
		got := get(t, base+"/orders/"+o.ID)
		require.Contains(t, got.body, `"status":"PAID"`)
		require.Equal(t, http.StatusAccepted, call(t, http.MethodPost, cancel, "", "", "Origin", base).status)
		require.Equal(t, http.StatusAccepted, call(t, http.MethodPost, cancel, "", "", "Origin", base, "Sec-Fetch-Site", "same-origin").status)
	})
}

// Every response is protected by headers, each exactly once.
func TestResponsesHaveProtectiveHeaders(t *testing.T) {
	t.Parallel()
	const none = "default-src 'none'; frame-ancestors 'none'"
	atEntryPoints(t, func(t *testing.T, base string) {
		for path, caching := range map[string]string{
			"/orders?user_id=1": "no-store", "/orders/1": "no-store", "/accounts/x": "no-store", "/audit": "no-store", "/nothing": "no-store", "/orders/x/y/z": "no-store",
			"/metrics": "no-store", "/docs": "no-cache", "/docs/docs.js": "no-cache", "/openapi.yaml": "no-cache", "/problems/internal": "no-cache",
		} {
			_, header, _ := send(t, http.MethodGet, base+path, "Accept", "*/*", "")
			want := map[string]string{"Cache-Control": caching, "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
			if strings.Contains(header.Get("Content-Type"), "json") {
				want["Content-Security-Policy"] = none
			}
			if strings.Contains(header.Get("Content-Type"), "html") {
				want["Referrer-Policy"], want["Cross-Origin-Opener-Policy"] = "no-referrer", "same-origin"
				want["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
			}
			for name, value := range want {
				require.Equal(t, []string{value}, header.Values(name), path)
			}
			require.Len(t, header.Values("Content-Security-Policy"), 1, path)
			require.NotContains(t, header.Get("Content-Security-Policy"), "unsafe", path)
		}
	})
}

// Neither published port serves metrics, profiles or the probes of a container.
func TestInternalPathsAreNotPublic(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		for _, path := range []string{
			"/metrics", "/metrics/", "/%6detrics", "/METRICS", "/readyz", "/readyz/", "/ready%7a", "/livez", "/livez/", "/healthz", "/healthz/", "/%68ealthz",
			"/debug/pprof", "/debug/pprof/", "/debug/pprof/heap", "/debug%70rof", "/orders/metrics/x", "/stub_status", "/nginx_status", "/nginx.conf", "/start.sh", "/.problem/internal", "/404.html",
		} {
			resp, _ := raw(t, base, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n")
			require.Equal(t, http.StatusNotFound, resp.StatusCode, path)
		}
	})
}

// The logs name the client. X-Forwarded-For is believed only from nginx, although requests to
// the port of the gateway come from the same network.
func TestLogsNameTheClient(t *testing.T) {
	t.Parallel()
	line := func(service, id string) (found map[string]any) {
		t.Helper()
		servicetest.Eventually(t, func() bool {
			out, err := exec.CommandContext(t.Context(), "docker", "logs", container(t, shop, service)).CombinedOutput()
			require.NoError(t, err)
			for line := range bytes.Lines(out) {
				if bytes.Contains(line, []byte(`"`+id+`"`)) {
					require.NoError(t, json.Unmarshal(line, &found))
					return true
				}
			}
			return false
		})
		return found
	}
	replicas, err := shop.Containers(t.Context(), "frontend")
	require.NoError(t, err)
	for name, base := range map[string]string{"page": shop.Page, "gateway": shop.API} {
		for _, connection := range []string{"close", "close, X-Forwarded-For, X-Request-Id, X-Forwarded-Host, Host"} {
			id := fmt.Sprintf("client-%s-%d", name, len(connection))
			resp, _ := raw(t, base, "GET /orders/1 HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: "+id+"\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: "+connection+"\r\n\r\n")
			require.Equal(t, http.StatusBadRequest, resp.StatusCode)
			require.Equal(t, []string{id}, resp.Header.Values("X-Request-Id"))
			client := line("gateway", id)["client"]
			require.NotEmpty(t, client)
			require.NotEqual(t, "6.6.6.6", client)
			require.NotEqual(t, replicas[0].IP, client, "the client of the gateway is nginx")
			if name == "page" {
				require.Equal(t, line("frontend", id)["remote"], client)
			}
		}
	}
}
