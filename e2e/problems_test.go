//go:build e2e

package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each client error returns a problem of the matching type, at both entry points.
func TestClientErrorsReturnTheirProblemType(t *testing.T) {
	t.Parallel()
	const json = "application/json"
	big := `{"item":"` + strings.Repeat("x", 70<<10) + `"}`
	for name, tc := range map[string]struct {
		method, path, contentType, body string
		status                          int
		problem                         string
	}{
		"unknown route":        {"GET", "/nothing", "", "", 404, "not-found"},
		"unknown route, POST":  {"POST", "/nothing", json, `{}`, 404, "not-found"},
		"unknown subroute":     {"GET", "/orders/x/y/z", "", "", 404, "not-found"},
		"unknown problem":      {"GET", "/problems/nothing", "", "", 404, "not-found"},
		"DELETE of orders":     {"DELETE", "/orders/", "", "", 405, "method-not-allowed"},
		"PUT of an account":    {"PUT", "/accounts/1", json, `{}`, 405, "method-not-allowed"},
		"PATCH of a statement": {"PATCH", "/accounts/1/entries", json, `{}`, 405, "method-not-allowed"},
		"POST to the contract": {"POST", "/openapi.yaml", json, `{}`, 405, "method-not-allowed"},
		"missing media type":   {"POST", "/orders/", "", `{}`, 415, "unsupported-media-type"},
		"XML":                  {"POST", "/accounts/", "application/xml", `<a/>`, 415, "unsupported-media-type"},
		"form":                 {"POST", "/accounts", "application/x-www-form-urlencoded", `user_id=1`, 415, "unsupported-media-type"},
		"order too large":      {"POST", "/orders", json, big, 413, "body-too-large"},
		"deposit too large":    {"POST", "/accounts/", json, big, 413, "body-too-large"},
		"incomplete object":    {"POST", "/accounts/", json, `{"user_id":1`, 400, "malformed-request"},
		"array":                {"POST", "/orders/", json, `[]`, 400, "malformed-request"},
		"two objects":          {"POST", "/orders/", json, `{} {}`, 400, "malformed-request"},
		"invalid UTF-8":        {"POST", "/orders/", json, "{\"item\":\"\xff\"}", 400, "malformed-request"},
		"empty body":           {"POST", "/orders/", json, "", 400, "malformed-request"},
		"empty object":         {"POST", "/orders/", json, `{}`, 422, "invalid-request"},
		"invalid user id":      {"GET", "/accounts/x/entries", "", "", 400, "invalid-parameter"},
		"invalid limit":        {"GET", "/orders/?user_id=1&limit=101", "", "", 400, "invalid-parameter"},
		"invalid order id":     {"POST", "/orders/1/cancel", "", "", 400, "invalid-parameter"},
		"missing user id":      {"GET", "/orders/events", "", "", 400, "invalid-parameter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atEntryPoints(t, func(t *testing.T, base string) {
				a := call(t, tc.method, base+tc.path, tc.contentType, tc.body)
				require.Equal(t, tc.status, a.status, a.body)
				require.Contains(t, a.body, `"type":"/problems/`+tc.problem+`"`)
				require.Equal(t, tc.status == http.StatusMethodNotAllowed, a.header.Get("Allow") != "")
			})
		})
	}
}

// Requests that nginx rejects itself return a problem as well.
func TestNginxErrorsAreProblems(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method, path, header, body string
		status                     int
		problem                    string
	}{
		"long request line":  {"GET", "/" + strings.Repeat("x", 9<<10), "", "", 400, "malformed-request"},
		"long header":        {"GET", "/orders/1", strings.Repeat("x", 9<<10), "", 400, "malformed-request"},
		"POST to a file":     {"POST", "/index.html", "", "x", 405, "method-not-allowed"},
		"DELETE of the page": {"DELETE", "/", "", "", 405, "method-not-allowed"},
		"body too large":     {"POST", "/", "", strings.Repeat("x", 70<<10), 413, "body-too-large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, header, body := send(t, tc.method, shop.Page+tc.path, "X-Padding", tc.header, tc.body)
			require.Equal(t, tc.status, status, body)
			require.Equal(t, "application/problem+json", header.Get("Content-Type"))
			require.Contains(t, body, `"type":"/problems/`+tc.problem+`"`)
			require.Contains(t, body, `"request_id":"`+header.Get("X-Request-Id")+`"`)
		})
	}
}

// A client that accepts HTML gets an HTML page instead of a problem.
func TestUnknownPageIsHTMLForBrowsers(t *testing.T) {
	t.Parallel()
	status, header, body := send(t, http.MethodGet, shop.Page+"/nothing", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, header.Get("Content-Type"), "text/html")
	require.Contains(t, body, "no such page")
}

// The contract and its pages are served at both entry points. Each page has only its own
// Content-Security-Policy.
func TestDocsAreServedAtBothEntryPoints(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		for path, contentType := range map[string]string{
			"/openapi.yaml": "application/yaml", "/docs": "text/html; charset=utf-8",
			"/problems/": "text/html; charset=utf-8", "/problems/outcome-unknown": "text/html; charset=utf-8",
		} {
			for _, slash := range []string{"", "/"} {
				a := get(t, base+strings.TrimSuffix(path, "/")+slash)
				require.Equal(t, http.StatusOK, a.status, path)
				require.Equal(t, contentType, a.header.Get("Content-Type"))
				require.Len(t, a.header.Values("X-Content-Type-Options"), 1)
				if path != "/openapi.yaml" {
					require.Len(t, a.header.Values("Content-Security-Policy"), 1)
					require.NotContains(t, a.header.Get("Content-Security-Policy"), "trusted-types")
				}
			}
		}
	})
}

// send sends a request with one additional header. It does not check the contract.
func send(t *testing.T, method, url, name, value, body string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set(name, value)
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(answer)
}
