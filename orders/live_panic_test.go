package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

// explosive is a listener whose connections panic when they send an order of the item
// "explode", and when they read "!".
type explosive struct{ net.Listener }

func (l explosive) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return explosiveConn{conn}, err
}

type explosiveConn struct{ net.Conn }

func (c explosiveConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("event: order")) && bytes.Contains(b, []byte("explode")) {
		panic("the write exploded")
	}
	return c.Conn.Write(b)
}

func (c explosiveConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 1 && b[0] == '!' {
		panic("the read exploded")
	}
	return n, err
}

// lines is a log that is read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) with(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// A panic on a goroutine of a stream ends that stream alone, and is logged once.
func TestPanicInAStreamEndsItAlone(t *testing.T) {
	t.Parallel()
	var log lines
	cfg := &config{}
	p := program(cfg)
	serve := p.Serve
	p.Serve = func(ctx context.Context, _ *slog.Logger) error {
		listen := cfg.Service.ListenFunc
		cfg.Service.ListenFunc = func(ctx context.Context, addr string) (net.Listener, error) {
			l, err := listen(ctx, addr)
			return explosive{l}, err
		}
		return serve(ctx, service.NewLogger(&log, slog.LevelInfo, "orders"))
	}
	database := databasetest.New(t)
	f := &fixture{database: database, Service: servicetest.Start(t, p, database.URL("orders"), brokertest.New(t).URL())}
	f.Ready(t)

	neighbour := follow(t, f.Service, 2, "")
	snapshot(t, neighbour)
	writes := follow(t, f.Service, 1, "")
	snapshot(t, writes)
	a := f.Send(t, http.MethodPost, "/orders/", `{"user_id":1,"item":"explode","price":1}`)
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	writes.Ended(t)

	reads, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(f.URL, "http://"))
	require.NoError(t, err)
	defer reads.Close()
	_, err = fmt.Fprint(reads, "GET /orders/events?user_id=3 HTTP/1.1\r\nHost: orders\r\n\r\n")
	require.NoError(t, err)
	servicetest.Eventually(t, func() bool { return f.Metric(t, "order_streams") == 2 })
	_, err = fmt.Fprint(reads, "!")
	require.NoError(t, err)
	servicetest.Eventually(t, func() bool { return f.Metric(t, "order_streams") == 1 })

	o := f.place(t, 2, "1")
	until(t, neighbour, o.ID, 1)
	for _, cause := range []string{"the write exploded", "the read exploded"} {
		logged := log.with(cause)
		require.Len(t, logged, 1)
		require.Contains(t, logged[0], `"request_id"`)
		require.Contains(t, logged[0], "explosiveConn", "its stack")
	}
}
