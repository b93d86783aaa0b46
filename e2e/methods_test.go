//go:build e2e

package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// HEAD returns the status and headers of GET without a body, at both entry points and for
// event streams as well.
func TestHeadMatchesGet(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		user := newUser()
		require.Equal(t, http.StatusCreated, post(t, base+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":1}`, user)).status)
		o := settled(t, base, place(t, base, user, "1").ID)
		for _, path := range []string{
			"/orders/" + o.ID, fmt.Sprint("/orders?user_id=", user), fmt.Sprint("/accounts/", user), fmt.Sprintf("/accounts/%d/entries/", user),
			"/docs", "/openapi.yaml", "/problems/", "/problems/outcome-unknown",
			"/orders/1", "/orders/01980f5e-7b1c-7000-8000-000000000001", "/accounts/x", "/nothing", "/problems/nothing",
		} {
			// nginx does not compress HEAD responses, and changes the ETag of compressed ones.
			want, got := call(t, http.MethodGet, base+path, "", "", "Accept-Encoding", "identity"), call(t, http.MethodHead, base+path, "", "")
			require.Equal(t, want.status, got.status, path)
			require.Empty(t, got.body)
			for _, name := range []string{"Content-Type", "Content-Security-Policy", "Cache-Control", "Etag"} {
				require.Equal(t, want.header.Values(name), got.header.Values(name), path)
			}
			if length := want.header.Get("Content-Length"); length != "" {
				require.Equal(t, length, got.header.Get("Content-Length"), path)
			}
		}
		events := call(t, http.MethodHead, fmt.Sprintf("%s/orders/events?user_id=%d", base, user), "", "")
		require.Equal(t, http.StatusOK, events.status)
		require.Equal(t, "text/event-stream", events.header.Get("Content-Type"))
		require.Equal(t, http.StatusBadRequest, call(t, http.MethodHead, base+"/orders/events", "", "").status)
	})
	for _, url := range []string{
		shop.API + "/docs/docs.js", shop.Page + "/docs/swagger-ui.css",
		shop.Page + "/", shop.Page + "/index.html", shop.Page + "/nothing",
	} {
		want, wantHeader, _ := send(t, http.MethodGet, url, "Accept", "text/html", "")
		got, gotHeader, body := send(t, http.MethodHead, url, "Accept", "text/html", "")
		require.Equal(t, want, got, url)
		require.Equal(t, wantHeader.Get("Content-Type"), gotHeader.Get("Content-Type"), url)
		require.Empty(t, body)
	}
}

// A 405 lists exactly the methods that the path supports.
func TestAllowListsSupportedMethods(t *testing.T) {
	t.Parallel()
	const id = "01980f5e-7b1c-7000-8000-000000000001"
	allowed := map[string][]string{
		"/orders": {"GET", "HEAD", "POST"}, "/orders/events": {"GET", "HEAD"}, "/orders/" + id: {"GET", "HEAD"}, "/orders/" + id + "/cancel": {"POST"},
		"/accounts": {"POST"}, "/accounts/1": {"GET", "HEAD"}, "/accounts/1/entries": {"GET", "HEAD"}, "/audit": {"GET", "HEAD"},
		"/docs": {"GET", "HEAD"}, "/openapi.yaml": {"GET", "HEAD"}, "/problems": {"GET", "HEAD"}, "/problems/internal": {"GET", "HEAD"},
	}
	atEntryPoints(t, func(t *testing.T, base string) {
		for path, want := range allowed {
			for _, method := range []string{"HEAD", "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "FOO"} {
				for _, slash := range []string{"", "/"} {
					if slices.Contains(want, method) {
						continue
					}
					a := call(t, method, base+path+slash, "", "")
					require.Equal(t, http.StatusMethodNotAllowed, a.status, "%s %s", method, path)
					require.Equal(t, want, methods(a.header), "%s %s", method, path)
				}
			}
			for _, method := range []string{"TRACE", "CONNECT"} { // net/http clients cannot send them unchanged
				resp, body := raw(t, base, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method, path))
				require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode, "%s %s", method, path)
				require.Equal(t, want, methods(resp.Header), "%s %s", method, path)
				require.Contains(t, body, "/problems/method-not-allowed")
				require.Contains(t, body, `"request_id":"`+resp.Header.Get("X-Request-Id")+`"`)
			}
		}
	})
	for _, method := range []string{"POST", "TRACE"} {
		resp, _ := raw(t, shop.Page, method+" /index.html HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
		require.Equal(t, []string{"GET", "HEAD"}, methods(resp.Header))
	}
}

func methods(h http.Header) []string {
	all := strings.Split(strings.Join(h.Values("Allow"), ", "), ", ")
	slices.Sort(all)
	return all
}

// HTTP/1.0 requests do not need a Host header.
func TestHTTP10WithoutHostIsServed(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		for path, status := range map[string]int{"/orders?user_id=1": http.StatusOK, "/docs": http.StatusOK, "/orders/1": http.StatusBadRequest} {
			resp, _ := raw(t, base, "GET "+path+" HTTP/1.0\r\n\r\n")
			require.Equal(t, status, resp.StatusCode, path)
		}
	})
}

// A request has exactly one id, even if the client lists X-Request-Id in Connection.
func TestRequestHasOneID(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		a := call(t, http.MethodGet, base+"/orders/1", "", "", "X-Request-Id", "mine", "Connection", "X-Request-Id")
		require.Contains(t, a.body, `"request_id":"mine"`)
		require.Equal(t, []string{"mine"}, a.header.Values("X-Request-Id"))
	})
}

// raw sends bytes unchanged over a new connection.
func raw(t *testing.T, base, sent string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://")) //nolint:noctx // bounded by the test
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, sent)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}
