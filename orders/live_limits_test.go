package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/orders/internal/order"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

// placeMany places n orders of the user. Their items have the maximum length.
func (f *fixture) placeMany(t *testing.T, user int64, n int) {
	t.Helper()
	orders := order.NewService(f.store())
	draft := order.Draft{UserID: user, Item: strings.Repeat("𝔤", order.MaxItem), Price: money.Amount(100)}
	for n > 0 {
		requests := make([]idempotency.Request[order.Draft], min(n, 256))
		for i := range requests {
			requests[i].Body = draft
		}
		_, err := orders.Place(t.Context(), requests)
		require.NoError(t, err)
		n -= len(requests)
	}
}

// A client that does not read is disconnected. Another client of the same user misses nothing.
func TestSlowStreamClientIsDisconnected(t *testing.T) {
	t.Parallel()
	f := start(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://")) //nolint:noctx // the test closes it
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = fmt.Fprintf(conn, "GET /orders/events?user_id=1 HTTP/1.1\r\nHost: orders\r\n\r\n")
	require.NoError(t, err)
	other := follow(t, f.Service, 1, "")
	readSnapshot(t, other)
	streams := func() float64 { return f.Metric(t, "order_streams") }
	servicetest.Eventually(t, func() bool { return streams() == 2 })
	received := 0
	for range 8 { // more than the buffers of a connection hold
		f.placeMany(t, 1, 1024)
		for range 1024 {
			readChange(t, other)
			received++
		}
	}
	servicetest.Eventually(t, func() bool { return streams() == 1 })
	require.Equal(t, 8*1024, received)
	last := f.place(t, 1, "1")
	readUntil(t, other, last.ID, 1)
}

func TestClientThatMissedTooMuchGetsASnapshot(t *testing.T) {
	t.Parallel()
	f := start(t)
	s := follow(t, f.Service, 1, "")
	_, last := readSnapshot(t, s)
	s.Close()
	f.placeMany(t, 1, 501)
	orders, _ := readSnapshot(t, follow(t, f.Service, 1, last))
	require.Len(t, orders, 20)
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	f := startOn(t, databasetest.New(t), brokertest.New(t), "MAX_STREAMS", "2")
	f.Ready(t)
	first := follow(t, f.Service, 1, "")
	readSnapshot(t, first)
	readSnapshot(t, follow(t, f.Service, 2, ""))
	got := f.Send(t, http.MethodGet, "/orders/events?user_id=1", "")
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.Contains(t, got.Body, "/problems/unavailable")
	require.Contains(t, got.Body, "too many event streams;")
	require.Equal(t, "1", got.Header.Get("Retry-After"))
	first.Close()
	servicetest.Eventually(t, func() bool { return f.Metric(t, "order_streams") == 1 })
	readSnapshot(t, follow(t, f.Service, 1, ""))
}

// One user cannot take the streams of the others.
func TestStreamsOfAUserAreBounded(t *testing.T) {
	t.Parallel()
	f := startOn(t, databasetest.New(t), brokertest.New(t), "MAX_STREAMS_PER_USER", "2")
	f.Ready(t)
	first := follow(t, f.Service, 1, "")
	readSnapshot(t, first)
	readSnapshot(t, follow(t, f.Service, 1, ""))
	got := f.Send(t, http.MethodGet, "/orders/events?user_id=1", "")
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.Contains(t, got.Body, "too many event streams of this user")
	require.Equal(t, "1", got.Header.Get("Retry-After"))
	readSnapshot(t, follow(t, f.Service, 2, ""))
	first.Close()
	servicetest.Eventually(t, func() bool { return f.Metric(t, "order_streams") == 2 })
	readSnapshot(t, follow(t, f.Service, 1, ""))
}
