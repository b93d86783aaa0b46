package service_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
)

// closing is a connection that reports when it is closed.
type closing struct {
	net.Conn
	closed chan time.Time
}

func (c closing) Close() error {
	select {
	case c.closed <- time.Now():
	default: // it was closed before
	}
	return c.Conn.Close()
}

// A client that sends or reads too slowly is disconnected, on both ports.
func TestSlowClientsAreDisconnected(t *testing.T) {
	t.Parallel()
	endless := func(w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return err
			}
		}
	}
	handlers := map[string]func(http.ResponseWriter, *http.Request) error{
		"/read":  func(_ http.ResponseWriter, r *http.Request) error { _, err := io.ReadAll(r.Body); return err },
		"/write": func(w http.ResponseWriter, _ *http.Request) error { return endless(w) },
		"/short": func(w http.ResponseWriter, _ *http.Request) error { _, err := io.WriteString(w, "x"); return err },
		"/long": func(w http.ResponseWriter, _ *http.Request) error {
			service.AllowTime(w, time.Minute)
			return endless(w)
		},
		"/hijack": func(w http.ResponseWriter, _ *http.Request) error {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return err
			}
			<-time.After(time.Hour)
			_, err = io.WriteString(conn, "x")
			return errors.Join(err, conn.Close())
		},
	}
	for name, tc := range map[string]struct {
		request string
		reads   int // how many bytes of the responses the client reads
		after   time.Duration
		err     error // of the handler
	}{
		"head":                {"GET /write HTTP/1.1\r\n", 0, 5 * time.Second, nil},
		"body":                {"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx", 0, 15 * time.Second, os.ErrDeadlineExceeded},
		"response":            {"GET /write HTTP/1.1\r\nHost: a\r\n\r\n", 100, 45 * time.Second, os.ErrDeadlineExceeded},
		"long response":       {"GET /long HTTP/1.1\r\nHost: a\r\n\r\n", 100, 105 * time.Second, os.ErrDeadlineExceeded},
		"pipelined responses": {strings.Repeat("GET /short HTTP/1.1\r\nHost: a\r\n\r\n", 9), 0, 45 * time.Second, nil},
		"no second request":   {"GET /short HTTP/1.1\r\nHost: a\r\n\r\n", 1 << 10, 2 * time.Minute, nil},
		"hijacked":            {"GET /hijack HTTP/1.1\r\nHost: a\r\n\r\n", 1, time.Hour, nil},
		"metrics":             {"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 100, 45 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				failed := make(chan error, 1)
				l := newPipes()
				part := serveAPI(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if err := handlers[r.URL.Path](w, r); err != nil {
						failed <- err
						panic(http.ErrAbortHandler)
					}
				}), &service.Health{})
				if name == "metrics" {
					part = service.Config{}.ServeMetrics(l, service.NewRegistry())
				}
				ctx, stop := context.WithCancel(t.Context())
				stopped := make(chan error, 1)
				go func() { stopped <- part.Run(ctx) }()
				client, server := net.Pipe()
				start, closed := time.Now(), make(chan time.Time, 1)
				l.accept <- closing{server, closed}
				go func() { _, _ = io.WriteString(client, tc.request) }() // until the server stops reading
				go func() { _, _ = io.CopyN(io.Discard, client, int64(tc.reads)) }()
				require.Equal(t, tc.after, (<-closed).Sub(start))
				if tc.err != nil {
					require.ErrorIs(t, <-failed, tc.err)
				}
				stop()
				require.NoError(t, <-stopped)
			})
		})
	}
}
