//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/e2e/stack"
	"gozon/shared/test/servicetest"
	"gozon/shared/test/tlstest"
)

// With a certificate, both entry points serve the API and event streams over both versions of
// HTTP, and plain HTTP only redirects browsers.
func TestShopOverHTTPS(t *testing.T) { //nolint:paralleltest // starting two shops at the same time is slow
	ca, dir := tlstest.NewCA(t), t.TempDir()
	ca.Issue(t, dir, "127.0.0.1")
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // only to find a free port
	require.NoError(t, err)
	page := "https://" + l.Addr().String()
	require.NoError(t, l.Close())
	var log bytes.Buffer
	own, err := stack.Up(t.Context(), stack.Options{Project: "gozon-e2e-tls", Log: &log})
	require.NoError(t, err, &log)
	t.Cleanup(func() { _ = own.Down(context.Background()) })
	own.Set("COMPOSE_FILE=docker-compose.yml:deploy/tls.yml", "TLS_DIR="+dir, "HTTPS_PORT="+page[strings.LastIndex(page, ":")+1:])
	require.NoError(t, own.Compose(t.Context(), "up", "-d"), &log)

	do := func(c *http.Client, method, url, body, accept string) (*http.Response, string, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", accept)
		resp, err := c.Do(req)
		if err != nil {
			return nil, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp, string(b), err
	}
	for name, base := range map[string]string{"page": page, "gateway": strings.Replace(own.API, "http:", "https:", 1)} {
		for version := 1; version <= 2; version++ {
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP1(version == 1)
			transport.Protocols.SetHTTP2(version == 2)
			c := &http.Client{Transport: transport}
			what, user := fmt.Sprint(name, ", HTTP/", version), newUser()
			servicetest.Eventually(t, func() bool {
				resp, _, err := do(c, http.MethodGet, base+"/audit", "", "")
				return err == nil && resp.StatusCode == http.StatusOK
			}, what)
			resp, body, err := do(c, http.MethodPost, base+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":10}`, user), "")
			require.NoError(t, err, what)
			require.Equal(t, http.StatusCreated, resp.StatusCode, body)
			require.Equal(t, version, resp.ProtoMajor, what)
			require.Equal(t, []string{"max-age=31536000; includeSubDomains"}, resp.Header["Strict-Transport-Security"], what)

			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprint(base, "/orders/events?user_id=", user), http.NoBody)
			require.NoError(t, err)
			events, err := c.Do(req)
			require.NoError(t, err, what)
			resp, body, err = do(c, http.MethodPost, base+"/orders/", fmt.Sprintf(`{"user_id":%d,"item":"Book","price":1}`, user), "")
			require.NoError(t, err, what)
			require.Equal(t, http.StatusCreated, resp.StatusCode, body)
			in := bufio.NewReader(events.Body)
			for line := ""; !strings.Contains(line, `"PAID"`); {
				line, err = in.ReadString('\n')
				require.NoError(t, err, what)
			}
			require.NoError(t, events.Body.Close())
			transport.CloseIdleConnections()
		}
	}

	plain := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, tc := range []struct {
		method, url, accept string
		status              int
		location            string
	}{
		{http.MethodGet, own.Page + "/orders?a=b", "text/html,*/*", http.StatusPermanentRedirect, page + "/orders?a=b"},
		{http.MethodPost, own.Page + "/orders/", "text/html,*/*", http.StatusMisdirectedRequest, ""},
		{http.MethodGet, own.Page + "/orders/?user_id=1", "application/json", http.StatusMisdirectedRequest, ""},
		{http.MethodGet, own.API + "/orders/?user_id=1", "application/json", http.StatusBadRequest, ""},
	} {
		resp, body, err := do(plain, tc.method, tc.url, "", tc.accept)
		require.NoError(t, err)
		require.Equal(t, tc.status, resp.StatusCode, body)
		require.Equal(t, tc.location, resp.Header.Get("Location"))
	}
}
