package http1_test

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/gateway/internal/http1"
)

// FuzzResponse compares the client with http.Transport: both must accept the same responses
// and read the same status, headers and body from them.
func FuzzResponse(f *testing.F) {
	for _, text := range []string{
		ok, ok + ok, "", "HTTP/1.1 200 OK\r\n\r\nuntil the end", "HTTP/1.0 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=1\r\nok\r\n0\r\nTrailer: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 304 Not Modified\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nConnection: close, a\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
	} {
		f.Add(true, text)
		f.Add(false, text)
	}
	// One server for all inputs: each new one would use up a port for a minute.
	var response atomic.Pointer[string]
	s := start(f, func(_ int64, c net.Conn) bool { _, _ = io.WriteString(c, *response.Load()); return false })
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	f.Fuzz(func(t *testing.T, get bool, text string) {
		response.Store(&text)
		method := http.MethodHead
		if get {
			method = http.MethodGet
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+"/", http.NoBody)
		require.NoError(t, err)
		want, wantErr := transport.RoundTrip(req)
		pool := http1.NewPool(s.addr) // the server closes each connection, but not at once
		defer pool.Close()
		got, gotErr := pool.Do(t.Context(), request(method))
		if got != nil {
			defer got.Close()
		}
		if wantErr != nil {
			require.Error(t, gotErr)
			return
		}
		defer want.Body.Close()
		if want.StatusCode < 200 { // net/http accepts these; the client does not support them
			require.Error(t, gotErr)
			return
		}
		require.NoError(t, gotErr)
		require.Equal(t, want.StatusCode, got.StatusCode)
		require.Equal(t, want.Header, got.Header)
		wantBody, wantErr := io.ReadAll(want.Body)
		gotBody, gotErr := io.ReadAll(got)
		require.Equal(t, string(wantBody), string(gotBody))
		require.Equal(t, wantErr == nil, gotErr == nil, "%v, %v", wantErr, gotErr)
	})
}
