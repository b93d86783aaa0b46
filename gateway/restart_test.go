package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"gozon/shared/service"
)

// serveReplica starts a replica that stops like a service does.
func serveReplica(t *testing.T, addr string) (at netip.AddrPort, stop func() error) {
	t.Helper()
	l, err := service.Listen(t.Context(), addr)
	require.NoError(t, err)
	health := &service.Health{}
	engine := service.NewEngine(discard, service.NewRegistry(), health)
	engine.POST("/orders", func(c *gin.Context) { c.Status(http.StatusCreated) })
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() {
		ended <- service.Run(ctx, discard, time.Minute, service.Config{MaxConnections: 1000}.ServeAPI(l, engine, health, service.NewRegistry()))
	}()
	return netip.MustParseAddrPort(l.Addr().String()), func() error { cancel(); return <-ended }
}

// While one replica after the other restarts, no request fails, not even one that the
// gateway must not repeat.
func TestRestartsFailNoRequest(t *testing.T) {
	t.Parallel()
	var replicas []*backend
	var stops []func() error
	port := uint16(0)
	for i := range 2 {
		at, stop := serveReplica(t, fmt.Sprintf("127.0.0.%d:%d", i+1, port))
		port = at.Port()
		replicas, stops = append(replicas, &backend{addr: at}), append(stops, stop)
	}
	f := start(t, time.Minute, replicas...)
	var restarted atomic.Bool
	const clients = 8
	failed := make(chan error, clients)
	post := func(transport *http.Transport) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/orders", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusCreated {
			err = fmt.Errorf("the response is %s", resp.Status)
		}
		return errors.Join(err, resp.Body.Close())
	}
	for range clients {
		go func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			var err error
			for err == nil && !restarted.Load() {
				err = post(transport)
			}
			failed <- err
		}()
	}
	for next := 3; next <= 6; next++ { // each new replica has a new address
		require.NoError(t, stops[0]())
		at, stop := serveReplica(t, fmt.Sprintf("127.0.0.%d:%d", next, port))
		replicas, stops = append(replicas[1:], &backend{addr: at}), append(stops[1:], stop)
		f.setLookup(t, nil, replicas...)
	}
	restarted.Store(true)
	for range clients {
		require.NoError(t, <-failed)
	}
}
