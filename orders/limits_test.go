package main

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
)

// A user with too many open orders is refused until some of them are settled. Their other
// requests and other users are not affected.
func TestOpenOrdersOfAUserAreLimited(t *testing.T) {
	t.Parallel()
	f := startOn(t, databasetest.New(t), brokertest.New(t), "LIMIT_OPEN_ORDERS", "5")
	f.Ready(t)
	var last orderJSON
	for range 5 {
		last = f.place(t, 1, "1")
	}
	for range 3 {
		key := uuid.NewString()
		got := placeWithKey(t, f.Service, key, laptop)
		require.Equal(t, http.StatusTooManyRequests, got.Status, got.Body)
		require.Equal(t, "1", got.Header.Get("Retry-After"))
		require.Equal(t, `"open_orders";q=5`, got.Header.Get("RateLimit-Policy"))
		require.Equal(t, `"open_orders";r=0`, got.Header.Get("RateLimit"))
		require.Contains(t, got.Body, "/problems/too-many-requests")
		require.Contains(t, got.Body, "nothing was done")
		f.requireNoKey(t, key)
	}
	require.Equal(t, 5, f.rows(t, "orders"))
	require.InDelta(t, 3, f.Metric(t, `requests_limited_total{limit="open_orders"}`), 0)
	f.place(t, 2, "1")
	f.requireOthersAdmitted(t, last) // a cancelled order is open until its money is back

	f.payments().reply(t)
	f.retryUntilPlaced(t, uuid.NewString())
}

// The open orders are counted among the newest of the user.
func TestOpenOrders(t *testing.T) {
	t.Parallel()
	f := startOn(t, databasetest.New(t), brokertest.New(t))
	f.Ready(t)
	count := func(user int64, newest int) int {
		n, err := f.store().OpenOrders(t.Context(), user, newest)
		require.NoError(t, err)
		return n
	}
	require.Zero(t, count(1, 10))
	cancelled := f.place(t, 1, "1")
	f.payments().reply(t)
	f.waitForStatus(t, cancelled.ID, "PAID")
	require.Zero(t, count(1, 10))
	require.Equal(t, http.StatusAccepted, f.cancel(t, cancelled.ID).Status)
	require.Equal(t, 1, count(1, 10))
	f.place(t, 1, "1")
	f.place(t, 2, "1")
	require.Equal(t, 2, count(1, 10))
	require.Equal(t, 1, count(1, 1))
}
