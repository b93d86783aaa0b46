package service_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/test/tlstest"
)

// stalling is a connection of a client that stops reading when stalled is closed.
type stalling struct {
	net.Conn
	stalled <-chan struct{}
	closed  chan struct{}
}

func (s stalling) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	select {
	case <-s.stalled:
		<-s.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func http2Listener(l net.Listener, cert tls.Certificate) net.Listener {
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
}

// http2Transport returns a client of l that uses HTTP/2, over connections that wrap modifies.
func http2Transport(l *pipes, wrap func(net.Conn) net.Conn) *http.Transport {
	return &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := l.dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := tls.Client(wrap(conn), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		return c, c.HandshakeContext(ctx)
	}}
}

// A client cannot hold a request over HTTP/2 longer than one over HTTP/1, nor a connection
// that it does not read from. Closing such a connection takes TLS another 5 seconds.
func TestSlowClientsOverHTTP2AreDisconnected(t *testing.T) {
	t.Parallel()
	cert, err := tls.LoadX509KeyPair(tlstest.NewCA(t).Issue(t, t.TempDir(), "service"))
	require.NoError(t, err)
	endless := func(w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return err
			}
		}
	}
	for name, tc := range map[string]struct {
		handle func(http.ResponseWriter, *http.Request) error
		body   bool // the client sends a body that does not end
		stall  bool // the client stops reading after the head of the response
		after  time.Duration
		err    error // of the handler; any if nil
	}{
		"body": {
			func(_ http.ResponseWriter, r *http.Request) error { _, err := io.ReadAll(r.Body); return err },
			true, false, 15 * time.Second, os.ErrDeadlineExceeded,
		},
		"response": {func(w http.ResponseWriter, _ *http.Request) error { return endless(w) }, false, false, 45 * time.Second, nil},
		"long response": {func(w http.ResponseWriter, _ *http.Request) error {
			service.AllowTime(w, time.Minute)
			return endless(w)
		}, false, false, 105 * time.Second, nil},
		"no reads":    {func(w http.ResponseWriter, _ *http.Request) error { return endless(w) }, false, true, (10 + 5) * time.Second, nil},
		"disappeared": {func(_ http.ResponseWriter, r *http.Request) error { <-r.Context().Done(); return r.Context().Err() }, false, true, (15 + 10 + 5) * time.Second, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, failed, stalled, closed := newPipes(), make(chan error, 1), make(chan struct{}), make(chan struct{})
				part := serveAPI(http2Listener(l, cert), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_ = http.NewResponseController(w).Flush()
					failed <- tc.handle(w, r)
					panic(http.ErrAbortHandler)
				}), &service.Health{})
				ctx, stop := context.WithCancel(t.Context())
				stopped := make(chan error, 1)
				go func() { stopped <- part.Run(ctx) }()
				transport := http2Transport(l, func(c net.Conn) net.Conn { return stalling{c, stalled, closed} })
				body, unsent := io.Pipe()
				defer unsent.Close()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://service/", http.NoBody)
				require.NoError(t, err)
				if tc.body {
					req.Method, req.Body, req.ContentLength = http.MethodPost, body, 2
				}
				start := time.Now()
				resp, err := transport.RoundTrip(req)
				require.NoError(t, err)
				require.Equal(t, 2, resp.ProtoMajor)
				if tc.stall {
					close(stalled)
				}
				err = <-failed
				require.Equal(t, tc.after, time.Since(start))
				if tc.err != nil {
					require.ErrorIs(t, err, tc.err)
				}
				close(closed)
				require.NoError(t, errors.Join(resp.Body.Close(), unsent.Close()))
				transport.CloseIdleConnections()
				stop()
				require.NoError(t, <-stopped)
			})
		})
	}
}

// Requests that share a connection count like connections of their own.
func TestRequestsOverHTTP2AreBounded(t *testing.T) {
	t.Parallel()
	cert, err := tls.LoadX509KeyPair(tlstest.NewCA(t).Issue(t, t.TempDir(), "service"))
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		l, release := newPipes(), make(chan struct{})
		part := service.Config{MaxConnections: 3}.ServeAPI(http2Listener(l, cert), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }), &service.Health{}, service.NewRegistry())
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- part.Run(ctx) }()
		transport := http2Transport(l, func(c net.Conn) net.Conn { return c })
		statuses := make(chan int, 3)
		send := func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://service/", http.NoBody)
			if err != nil {
				statuses <- 0
				return
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				statuses <- 0
				return
			}
			_ = resp.Body.Close()
			statuses <- resp.StatusCode
		}
		for range 3 {
			go send()
			synctest.Wait()
		}
		require.Equal(t, http.StatusServiceUnavailable, <-statuses)
		close(release)
		require.Equal(t, []int{200, 200}, []int{<-statuses, <-statuses})
		go send()
		require.Equal(t, http.StatusOK, <-statuses)
		transport.CloseIdleConnections()
		stop()
		require.NoError(t, <-stopped)
	})
}
