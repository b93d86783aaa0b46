package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/orders/migrations"
	"gozon/shared/service"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

// panickingListener accepts connections that panic when they write an order with the item
// "panic".
type panickingListener struct{ net.Listener }

func (l panickingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return panickingConn{conn}, err
}

type panickingConn struct{ net.Conn }

func (c panickingConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("event: order")) && bytes.Contains(b, []byte("panic")) {
		panic("the write panicked")
	}
	return c.Conn.Write(b)
}

// logBuffer can be read while a logger writes to it.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// linesWith returns the lines that contain text.
func (l *logBuffer) linesWith(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// A panic on a goroutine of a stream ends only that stream and is logged once.
func TestPanicEndsOnlyItsStream(t *testing.T) {
	t.Parallel()
	var log logBuffer
	cfg := &config{}
	p := program(cfg)
	serve := p.Serve
	p.Serve = func(ctx context.Context, _ *slog.Logger) error {
		listen := cfg.Service.ListenFunc
		cfg.Service.ListenFunc = func(ctx context.Context, addr string) (net.Listener, error) {
			l, err := listen(ctx, addr)
			return panickingListener{l}, err
		}
		return serve(ctx, service.NewLogger(&log, slog.LevelInfo, "orders"))
	}
	database := databasetest.New(t)
	database.Migrate(t, "orders", migrations.FS)
	f := &fixture{database: database, Service: servicetest.Start(t, p, database.URL("orders"), brokertest.New(t).URL("orders"))}
	f.Ready(t)

	other := follow(t, f.Service, 2, "")
	readSnapshot(t, other)
	writes := follow(t, f.Service, 1, "")
	readSnapshot(t, writes)
	response := f.Send(t, http.MethodPost, "/orders/", `{"user_id":1,"item":"panic","price":1}`)
	require.Equal(t, http.StatusCreated, response.Status, response.Body)
	writes.Ended(t)

	o := f.place(t, 2, "1")
	readUntil(t, other, o.ID, 1)
	logged := log.linesWith("the write panicked")
	require.Len(t, logged, 1)
	require.Contains(t, logged[0], `"request_id"`)
	require.Contains(t, logged[0], "panickingConn", "the log contains the stack")
}
