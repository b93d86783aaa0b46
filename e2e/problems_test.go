//go:build e2e

package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a client gets wrong, at whichever door, the answer is a problem that says
// what it was. (call holds each to the contract.)
func TestEveryMistakeGetsItsProblem(t *testing.T) {
	t.Parallel()
	const json = "application/json"
	big := `{"item":"` + strings.Repeat("x", 70<<10) + `"}`
	for name, tc := range map[string]struct {
		method, path, contentType, body string
		status                          int
		problem                         string
	}{
		"unknown route":             {"GET", "/nothing", "", "", 404, "not-found"},
		"unknown route, POST":       {"POST", "/nothing", json, `{}`, 404, "not-found"},
		"unknown route below":       {"GET", "/orders/x/y/z", "", "", 404, "not-found"},
		"unknown problem":           {"GET", "/problems/nothing", "", "", 404, "not-found"},
		"DELETE of orders":          {"DELETE", "/orders/", "", "", 405, "method-not-allowed"},
		"PUT of an account":         {"PUT", "/accounts/1", json, `{}`, 405, "method-not-allowed"},
		"PATCH of a statement":      {"PATCH", "/accounts/1/entries", json, `{}`, 405, "method-not-allowed"},
		"POST to the contract":      {"POST", "/openapi.yaml", json, `{}`, 405, "method-not-allowed"},
		"no media type":             {"POST", "/orders/", "", `{}`, 415, "unsupported-media-type"},
		"XML":                       {"POST", "/accounts/", "application/xml", `<a/>`, 415, "unsupported-media-type"},
		"a form":                    {"POST", "/accounts", "application/x-www-form-urlencoded", `user_id=1`, 415, "unsupported-media-type"},
		"too large, with a length":  {"POST", "/orders", json, big, 413, "body-too-large"},
		"too large, another route":  {"POST", "/accounts/", json, big, 413, "body-too-large"},
		"half an object":            {"POST", "/accounts/", json, `{"user_id":1`, 400, "malformed-request"},
		"no object":                 {"POST", "/orders/", json, `[]`, 400, "malformed-request"},
		"two objects":               {"POST", "/orders/", json, `{} {}`, 400, "malformed-request"},
		"no UTF-8":                  {"POST", "/orders/", json, "{\"item\":\"\xff\"}", 400, "malformed-request"},
		"nothing at all":            {"POST", "/orders/", json, "", 400, "malformed-request"},
		"an empty object":           {"POST", "/orders/", json, `{}`, 422, "invalid-request"},
		"no user of a statement":    {"GET", "/accounts/x/entries", "", "", 400, "invalid-parameter"},
		"a limit that cannot be":    {"GET", "/orders/?user_id=1&limit=101", "", "", 400, "invalid-parameter"},
		"cancelling what is no id":  {"POST", "/orders/1/cancel", "", "", 400, "invalid-parameter"},
		"following nobody's orders": {"GET", "/orders/events", "", "", 400, "invalid-parameter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doors(t, func(t *testing.T, door string) {
				a := call(t, tc.method, door+tc.path, tc.contentType, tc.body)
				require.Equal(t, tc.status, a.status, a.body)
				require.Contains(t, a.body, `"type":"/problems/`+tc.problem+`"`)
				require.Equal(t, tc.status == http.StatusMethodNotAllowed, a.header.Get("Allow") != "")
			})
		})
	}
}

// What the page's door refuses before it looks at the path is a problem as well.
func TestPageDoorRefusesInProblems(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method, path, header, body string
		status                     int
		problem                    string
	}{
		"a long line":            {"GET", "/" + strings.Repeat("x", 9<<10), "", "", 400, "malformed-request"},
		"a long header":          {"GET", "/orders/1", strings.Repeat("x", 9<<10), "", 400, "malformed-request"},
		"POST to a file":         {"POST", "/index.html", "", "x", 405, "method-not-allowed"},
		"DELETE of the page":     {"DELETE", "/", "", "", 405, "method-not-allowed"},
		"too large for the page": {"POST", "/", "", strings.Repeat("x", 70<<10), 413, "body-too-large"},
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

// Only who looks for a page gets one.
func TestUnknownPageIsAPageForBrowsers(t *testing.T) {
	t.Parallel()
	status, header, body := send(t, http.MethodGet, shop.Page+"/nothing", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, header.Get("Content-Type"), "text/html")
	require.Contains(t, body, "no such page")
}

// The contract and the pages about it are at both doors, each page under the policy
// that it brings.
func TestDocsAreAtBothDoors(t *testing.T) {
	t.Parallel()
	doors(t, func(t *testing.T, door string) {
		for path, contentType := range map[string]string{
			"/openapi.yaml": "application/yaml", "/docs": "text/html; charset=utf-8",
			"/problems/": "text/html; charset=utf-8", "/problems/outcome-unknown": "text/html; charset=utf-8",
		} {
			for _, slash := range []string{"", "/"} {
				a := get(t, door+strings.TrimSuffix(path, "/")+slash)
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

// send is call for what is not of the API, with a header.
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
