package main

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

// requireRefused requires a 503 that leaves no trace of the request and its key.
func (f *fixture) requireRefused(t *testing.T, got servicetest.Answer, key, reason string) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, got.Status, got.Body)
	require.Equal(t, "1", got.Header.Get("Retry-After"))
	require.Contains(t, got.Body, "/problems/unavailable")
	require.Contains(t, got.Body, "nothing was done")
	require.Positive(t, f.Metric(t, `requests_refused_total{reason="`+reason+`"}`))
	f.requireNoKey(t, key)
}

// requireNoKey requires that no response is stored under a key.
func (f *fixture) requireNoKey(t *testing.T, key string) {
	t.Helper()
	var stored int
	require.NoError(t, f.pool.QueryRowContext(t.Context(), "SELECT count(*) FROM orders.idempotency_keys WHERE key = $1", key).Scan(&stored))
	require.Zero(t, stored)
}

// requireOthersAdmitted requires that reads and cancellations are not refused.
func (f *fixture) requireOthersAdmitted(t *testing.T, o orderJSON) {
	t.Helper()
	f.order(t, o.ID)
	got := f.cancel(t, o.ID)
	require.Equal(t, http.StatusAccepted, got.Status, got.Body)
}

// retryUntilPlaced retries a refused request with its key until it is accepted.
func (f *fixture) retryUntilPlaced(t *testing.T, key string) {
	t.Helper()
	var got servicetest.Answer
	servicetest.Eventually(t, func() bool {
		got = placeWithKey(t, f.Service, key, laptop)
		return got.Status == http.StatusCreated
	})
	require.Empty(t, got.Header.Get("Idempotent-Replayed"))
}

// The results arrive more slowly than orders were placed. New orders are refused, until the
// results end.
func TestBacklogRefusesNewOrders(t *testing.T) {
	t.Parallel()
	f := startOn(t, databasetest.New(t), brokertest.New(t), "BACKLOG_MAX_AGE", "200ms")
	f.Ready(t)
	waiting := make([]orderJSON, 100)
	for i := range waiting {
		waiting[i] = f.place(t, 1, "1")
	}
	for _, o := range waiting[:99] {
		f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100})
		f.waitForStatus(t, o.ID, "PAID")
		key := uuid.NewString()
		got := placeWithKey(t, f.Service, key, laptop)
		if got.Status == http.StatusCreated {
			continue
		}
		f.requireRefused(t, got, key, "backlog")
		require.Greater(t, f.Metric(t, "orders_backlog_age_seconds"), 0.05)
		f.requireOthersAdmitted(t, waiting[99])
		f.retryUntilPlaced(t, key)
		return
	}
	require.Fail(t, "no order was refused")
}

// An alarm of the broker stops only the publishing. Orders are accepted until the outbox is
// full, and again when the alarm has ended. An alarm is not an overload, however old the backlog
// becomes.
func TestBrokerAlarmStopsNothingButPublishing(t *testing.T) {
	t.Parallel()
	vhost, _ := brokertest.Own(t)
	f := startOn(t, databasetest.New(t), vhost, "BACKLOG_MAX_AGE", "1ms", "OUTBOX_MAX", "5")
	f.Ready(t)
	settled := f.place(t, 1, "1")
	f.payments().reply(t)

	end := vhost.Alarm(t, "memory")
	var last orderJSON
	for range 5 {
		last = f.place(t, 1, "1")
	}
	require.Equal(t, 5, f.rows(t, "outbox"))
	var got servicetest.Answer
	var key string
	servicetest.Eventually(t, func() bool {
		key = uuid.NewString()
		got = placeWithKey(t, f.Service, key, laptop)
		return got.Status != http.StatusCreated
	})
	f.requireRefused(t, got, key, "outbox_full")
	f.requireOthersAdmitted(t, last)
	f.requireOthersAdmitted(t, settled)

	end()
	f.retryUntilPlaced(t, key)
	servicetest.Eventually(t, func() bool { return f.rows(t, "outbox") == 0 })
}
