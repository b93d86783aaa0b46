package postgres_test

import (
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/payments/internal/payment"
	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
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
	service := payment.NewService(postgres.NewStore(delivery.NewStore(delivery.Config{EventsPerMessage: 256}, db, postgres.Schema)))

	keys := 0
	deposit := func(withKeys bool) {
		requests := make([]idempotency.Request[payment.Deposit], batchSize)
		for i := range requests {
			requests[i].Body = payment.Deposit{UserID: int64(i + 1), Amount: 1000}
			if keys++; withKeys {
				key, err := idempotency.NewKey(1, "deposit", strconv.Itoa(keys), requests[i].Body)
				require.NoError(t, err)
				requests[i].Key = key
			}
		}
		_, err := service.Deposit(t.Context(), requests)
		require.NoError(t, err)
	}
	// execute charges new orders, or cancels them if cancel is set.
	orders := make([]uuid.UUID, batchSize)
	execute := func(cancel bool) {
		commands, message := make([]inbox.Event[payment.Command], batchSize), uuid.Must(uuid.NewV7())
		for i := range commands {
			if !cancel {
				orders[i] = uuid.Must(uuid.NewV7())
			}
			commands[i] = inbox.Event[payment.Command]{ID: uuid.New(), Claim: message, Data: payment.Command{
				OrderID: orders[i], UserID: int64(i + 1), Amount: 10, Cancel: cancel,
			}}
		}
		_, err := service.Execute(t.Context(), commands)
		require.NoError(t, err)
	}
	const depositing, executing = 2, 2
	require.Equal(t, depositing, proxy.FewestRoundTrips(func() { deposit(false) }), "deposit")
	require.Equal(t, depositing+1, proxy.FewestRoundTrips(func() { deposit(true) }), "deposit with keys")
	require.Equal(t, executing, proxy.FewestRoundTrips(func() { execute(false) }), "execute")
	require.Equal(t, 2*executing, proxy.FewestRoundTrips(func() { execute(false); execute(true) }), "execute, cancel")
}
