package postgres_test

import (
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/orders/internal/order"
	"gozon/orders/internal/postgres"
	"gozon/orders/migrations"
	"gozon/shared/delivery"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/delivery/inbox"
	"gozon/shared/test/databasetest"
)

const batchSize = 5

// A use case costs as many round trips to PostgreSQL for a batch as for one item.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	_, _ = d.Open(t, postgres.Schema, migrations.FS)
	proxy := d.Proxy(t)
	db := proxy.Open(t, postgres.Schema)
	service := order.NewService(postgres.NewStore(delivery.NewStore(delivery.Config{EventsPerMessage: 256}, db, postgres.Schema)))

	var placed []uuid.UUID
	keys := 0
	place := func(withKeys bool) {
		placed = nil
		requests := make([]idempotency.Request[order.Draft], batchSize)
		for i := range requests {
			requests[i].Body = order.Draft{UserID: 1, Item: "x", Price: 1}
			if keys++; withKeys {
				key, err := idempotency.NewKey(1, "place", strconv.Itoa(keys), requests[i].Body)
				require.NoError(t, err)
				requests[i].Key = key
			}
		}
		responses, err := service.Place(t.Context(), requests)
		require.NoError(t, err)
		for _, r := range responses {
			placed = append(placed, r.Value.ID)
		}
	}
	settle := func(status order.PaymentStatus) {
		decisions, message := make([]inbox.Event[order.PaymentDecision], len(placed)), uuid.Must(uuid.NewV7())
		for i, id := range placed {
			decisions[i] = inbox.Event[order.PaymentDecision]{ID: uuid.New(), Claim: message, Data: order.PaymentDecision{OrderID: id, UserID: 1, Amount: 1, Status: status}}
		}
		_, err := service.Settle(t.Context(), decisions)
		require.NoError(t, err)
	}
	cancel := func() {
		requests := make([]idempotency.Request[uuid.UUID], len(placed))
		for i, id := range placed {
			requests[i].Body = id
		}
		_, err := service.Cancel(t.Context(), requests)
		require.NoError(t, err)
	}
	const placing, settling, cancelling = 1, 2, 2
	require.Equal(t, placing, proxy.FewestRoundTrips(func() { place(false) }), "place")
	require.Equal(t, placing+1, proxy.FewestRoundTrips(func() { place(true) }), "place with keys")
	require.Equal(t, placing+settling, proxy.FewestRoundTrips(func() {
		place(false)
		settle(order.PaymentSucceeded)
	}), "place, settle")
	require.Equal(t, placing+cancelling+settling, proxy.FewestRoundTrips(func() {
		place(false)
		cancel()
		settle(order.PaymentVoided)
	}), "place, cancel, settle")
}
