package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	for text, wrong := range map[string]string{
		"/orders=http://orders:8080, /accounts=http://payments:8080": "",
		"":                                 "not prefix=URL",
		"/orders":                          "not prefix=URL",
		"orders=http://orders":             "one path segment",
		"/a/b=http://orders":               "one path segment",
		"/=http://orders":                  "one path segment",
		"/a=http://orders,/a=http://other": "duplicate prefix",
		"/a=https://orders":                "http://host:port",
		"/a=http://orders/path":            "http://host:port",
		"/a=orders:8080":                   "http://host:port",
	} {
		var rs routes
		err := rs.UnmarshalText([]byte(text))
		if wrong == "" {
			require.NoError(t, err)
			require.Len(t, rs, 2)
			continue
		}
		require.ErrorContains(t, err, wrong, text)
	}
}

func TestRequestsAreForwardedUnchanged(t *testing.T) {
	t.Parallel()
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", echo))
	for _, path := range []string{"/orders", "/orders/", "/orders?user_id=1", "/orders/a%3Fb/c/?x=%20y"} {
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			resp, body := f.call(t, method, path, strings.NewReader("hello"))
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, method+" "+path+" hello", body)
		}
	}
	// The gateway forwards every method: only the service knows which ones a path allows.
	for _, method := range []string{"PROPFIND", "FOO", http.MethodTrace, http.MethodOptions, http.MethodConnect} {
		resp, body := f.call(t, method, "/orders/x", http.NoBody)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, method+" /orders/x ", body)
		require.Empty(t, resp.Header.Get("Allow"))
	}
	resp, body := f.call(t, "PROPFIND", "/readyz", http.NoBody)
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	require.Contains(t, body, "/problems/method-not-allowed")
	resp, _ = f.call(t, http.MethodGet, "/ordersx", http.NoBody)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
}

func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		w.Header().Set("X-Request-Id", r.Header.Get("X-Request-Id"))
	}))
	resp, _ := f.call(t, http.MethodGet, "/orders", http.NoBody, "X-Request-Id", "mine", "X-Forwarded-For", "6.6.6.6", "Te", "x", "Connection", "X-Secret", "X-Secret", "s")
	h := <-seen
	require.Equal(t, []string{"mine"}, h.Values("X-Request-Id"))
	require.Equal(t, []string{"mine"}, resp.Header.Values("X-Request-Id"))
	require.Equal(t, "127.0.0.1", h.Get("X-Forwarded-For"))
	require.Empty(t, h.Get("X-Secret"), "hop-by-hop header was forwarded")
	// A client cannot make the gateway drop the request id or use two ids for one request.
	resp, _ = f.call(t, http.MethodGet, "/orders", http.NoBody, "X-Request-Id", "mine", "Connection", "X-Request-Id, X-Forwarded-For")
	h = <-seen
	require.Equal(t, []string{"mine"}, h.Values("X-Request-Id"))
	require.Equal(t, []string{"mine"}, resp.Header.Values("X-Request-Id"))
	require.Equal(t, "127.0.0.1", h.Get("X-Forwarded-For"))
	resp, _ = f.call(t, http.MethodGet, "/orders", http.NoBody, "Connection", "X-Request-Id")
	require.Equal(t, resp.Header.Values("X-Request-Id"), (<-seen).Values("X-Request-Id"))
}

// The headers of a response that describe a single connection are not forwarded.
func TestResponseHeaders(t *testing.T) {
	t.Parallel()
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Set-Cookie"], h["Date"] = []string{"a", "b"}, []string{"now"}
		for _, name := range []string{"X-Secret", "Keep-Alive", "Upgrade", "Proxy-Authenticate", "Te", "X-Request-Id"} {
			h.Set(name, "s")
		}
		h.Set("Connection", "X-Secret, Keep-Alive")
	}))
	resp, _ := f.call(t, http.MethodGet, "/orders", http.NoBody, "X-Request-Id", "mine")
	want := http.Header{"Set-Cookie": {"a", "b"}, "Date": {"now"}, "X-Request-Id": {"mine"}, "Content-Length": {"0"}}
	maps.Copy(want, newGuard(nil).header)
	require.Equal(t, want, resp.Header)
}

func TestInformationalResponsesAreForwarded(t *testing.T) {
	t.Parallel()
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "x")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		echo(w, r)
	}))
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link")))
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"/orders", http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, []string{"103x"}, hints)
	require.Empty(t, resp.Header.Get("Link"))
	require.Len(t, resp.Header.Values("X-Request-Id"), 1)
	require.Equal(t, http.StatusOK, sendRaw(t, f.url, "GET /orders HTTP/1.0\r\n\r\n").StatusCode, "HTTP/1.0 has no informational responses")
}

// A response of unknown length is not buffered.
func TestResponseOfUnknownLength(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	f := start(t, time.Minute, serveAt(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/orders", http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	for range 3 { // each part arrives before the next one is sent
		_, err = io.ReadFull(resp.Body, make([]byte, 1))
		require.NoError(t, err)
		next <- struct{}{}
	}
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Empty(t, rest)
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	b := serveAt(t, "127.0.0.1:0", echo)
	f := start(t, time.Minute, b)
	largest := strings.Repeat("x", 64<<10)
	resp, _ := f.call(t, http.MethodPost, "/orders", strings.NewReader(largest))
	require.Equal(t, http.StatusOK, resp.StatusCode)
	for name, body := range map[string]io.Reader{"content length": strings.NewReader(largest + "x"), "chunked": io.MultiReader(strings.NewReader(largest + "x"))} {
		resp, respBody := f.call(t, http.MethodPost, "/orders", body)
		require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode, name)
		require.Contains(t, respBody, "/problems/body-too-large")
	}
	require.EqualValues(t, 1, b.hits.Load(), "an oversized request was forwarded")
}

func TestUnreachableServiceIs502AndSafeToRetry(t *testing.T) {
	t.Parallel()
	b := serveAt(t, "127.0.0.1:0", echo)
	f := start(t, time.Minute, b)
	b.stop()
	resp, body := f.call(t, http.MethodPost, "/orders", strings.NewReader("x"))
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Contains(t, body, "/problems/upstream-unavailable")
	_, ready := f.call(t, http.MethodGet, "/readyz", http.NoBody)
	require.Contains(t, ready, `"degraded"`)
}

func TestTimeoutIs504(t *testing.T) {
	t.Parallel()
	cancelled := make(chan struct{})
	f := start(t, 50*time.Millisecond, serveAt(t, "127.0.0.1:0", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		close(cancelled)
	}))
	resp, body := f.call(t, http.MethodPost, "/orders", strings.NewReader("x"))
	require.Equal(t, http.StatusGatewayTimeout, resp.StatusCode)
	require.Contains(t, body, "/problems/outcome-unknown")
	<-cancelled // the request to the service is cancelled too
}

func TestLostConnectionRetriesGetButNotPost(t *testing.T) {
	t.Parallel()
	broken := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}
	first := serveAt(t, "127.0.0.1:0", broken)
	second := serveAt(t, fmt.Sprintf("127.0.0.2:%d", first.addr.Port()), broken)
	f := start(t, time.Minute, first, second)
	resp, body := f.call(t, http.MethodPost, "/orders", strings.NewReader("x"))
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Contains(t, body, "/problems/outcome-unknown")
	require.EqualValues(t, 1, first.hits.Load()+second.hits.Load())
	resp, body = f.call(t, http.MethodGet, "/orders", http.NoBody)
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Contains(t, body, "/problems/upstream-unavailable")
	require.EqualValues(t, 3, first.hits.Load()+second.hits.Load())
}

func TestReplicasAreBalancedAndReplaced(t *testing.T) {
	t.Parallel()
	a := serveAt(t, "127.0.0.1:0", echo)
	b := serveAt(t, fmt.Sprintf("127.0.0.2:%d", a.addr.Port()), echo)
	f := start(t, time.Minute, a, b)
	each := func(n int, method string) {
		for range n {
			resp, body := f.call(t, method, "/orders", strings.NewReader("x"))
			require.Equal(t, http.StatusOK, resp.StatusCode, body)
		}
	}
	each(20, http.MethodPost)
	require.GreaterOrEqual(t, a.hits.Load(), int64(5), "requests are not spread over the replicas")
	require.GreaterOrEqual(t, b.hits.Load(), int64(5), "requests are not spread over the replicas")
	b.stop()
	// A GET that was sent to the crashed replica is retried. From then on, connecting to
	// that replica fails before anything is sent, so a POST succeeds too.
	each(20, http.MethodGet)
	each(20, http.MethodPost)
	f.setLookup(t, io.ErrUnexpectedEOF)
	each(1, http.MethodPost) // a failed lookup removes no replica
	c := serveAt(t, fmt.Sprintf("127.0.0.3:%d", a.addr.Port()), echo)
	f.setLookup(t, nil, a, c)
	each(10, http.MethodPost)
	require.Positive(t, c.hits.Load(), "the new replica receives no requests")
}
