package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http/httpguts"
)

// parse reads one request as a server does.
func parse(t *testing.T, raw []byte) (r *http.Request, body []byte, rest []byte) {
	t.Helper()
	br := bufio.NewReader(bytes.NewReader(raw))
	r, err := http.ReadRequest(br)
	require.NoError(t, err, string(raw))
	body, err = io.ReadAll(r.Body)
	require.NoError(t, err)
	rest, err = io.ReadAll(br)
	require.NoError(t, err)
	return r, body, rest
}

func TestOutgoingRequest(t *testing.T) {
	t.Parallel()
	r, body, _ := parse(t, []byte("POST /orders/a%2Fb?x=%20y HTTP/1.1\r\nHost: shop:80\r\nAccept: a\r\nAccept: b\r\nConnection: close, x-secret\r\n"+
		"X-Secret: s\r\nKeep-Alive: 1\r\nTe: trailers\r\nTrailer: t\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\n"+
		"Proxy-Authenticate: x\r\nExpect: 100-continue\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\n"+
		"X-Forwarded-Proto: https\r\nX-Request-Id: id\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: u\r\n\r\n"))
	r.RemoteAddr = "10.0.0.1:1234"
	sent, sentBody, rest := parse(t, newOutgoing(nil, r, body).Wire)
	require.Empty(t, rest)
	require.Equal(t, "/orders/a%2Fb?x=%20y", sent.RequestURI)
	require.Equal(t, "shop:80", sent.Host)
	require.Equal(t, "ok", string(sentBody))
	require.Equal(t, http.Header{
		"Accept": {"a", "b"}, "Content-Length": {"2"}, "X-Request-Id": {"id"},
		"X-Forwarded-For": {"10.0.0.1"}, "X-Forwarded-Host": {"shop:80"}, "X-Forwarded-Proto": {"http"},
	}, sent.Header)
}

// Services might disagree about the meaning of parameters that cannot be parsed.
func TestQueryParametersThatCannotBeParsedAreDropped(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"?a=1&b=%20;": "?a=1", "?a=1;b=2&c=3": "?c=3", "?a=%zz&b=1": "?b=1", "?a=%&b=%41": "?b=A",
		"?a=%41&b": "?a=%41&b", "?": "?", "": "", "?a=1&a=2&&": "?a=1&a=2&&",
	} {
		r, _, _ := parse(t, []byte("GET /orders"+query+" HTTP/1.1\r\nHost: a\r\n\r\n"))
		sent, _, _ := parse(t, newOutgoing(nil, r, nil).Wire)
		require.Equal(t, "/orders"+want, sent.RequestURI)
	}
}

func TestContentLengthOfEmptyBodies(t *testing.T) {
	t.Parallel()
	for method, want := range map[string][]string{
		http.MethodGet: nil, http.MethodHead: nil, http.MethodDelete: nil, "FOO": nil,
		http.MethodPost: {"0"}, http.MethodPut: {"0"}, http.MethodPatch: {"0"},
	} {
		r, _, _ := parse(t, []byte(method+" /orders HTTP/1.1\r\nHost: a\r\n\r\n"))
		sent, _, _ := parse(t, newOutgoing(nil, r, nil).Wire)
		require.Equal(t, want, sent.Header["Content-Length"], method)
	}
}

// FuzzOutgoing sends whatever net/http accepts to a second server: it must read the same
// request, and nothing after it.
func FuzzOutgoing(f *testing.F) {
	for _, raw := range []string{
		"GET /orders HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /orders?a=%20;b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
		"POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"GET http://user@[fe80::1%25a%20b]:80/orders//?x#y HTTP/1.1\r\nHost: b\r\nConnection: a, ,b\r\nA: 1\r\nB: 2\r\n\r\n",
		"CONNECT /orders HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n", "OPTIONS * HTTP/1.0\r\n\r\n",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil || len(r.Header["Host"]) > 0 || !validHeaders(r.Header) || !strings.HasPrefix(r.URL.Path, "/") {
			return // rejected by the server of net/http, or not forwarded
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		sent, sentBody, rest := parse(t, newOutgoing(nil, r, body).Wire)
		require.Empty(t, rest)
		require.Equal(t, body, sentBody)
		require.Equal(t, r.Method, sent.Method)
		require.Equal(t, r.URL.EscapedPath(), sent.URL.EscapedPath())
		require.Equal(t, validHost(r.Host), sent.Host)
		require.Empty(t, sent.TransferEncoding)
		dropped := namedInConnection(r.Header)
		for name, values := range r.Header {
			if !isHopByHop(name) && !isOwn(name) && !dropped[name] {
				require.Equal(t, values, sent.Header[name])
				delete(sent.Header, name)
			}
		}
		for name := range sent.Header {
			require.True(t, isOwn(name), name)
		}
	})
}

// validHeaders repeats the checks of http.Server.
func validHeaders(h http.Header) bool {
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(name) {
			return false
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return false
			}
		}
	}
	return true
}
