package main

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/orders/internal/postgres"
	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/servicetest"
)

// Another transaction holds the lock of one order. Only work for that order waits.
func TestLockedOrderDoesNotDelayOthers(t *testing.T) {
	t.Parallel()
	f := start(t)
	locked, other := f.place(t, 1, "1"), f.place(t, 1, "1")
	release := f.database.Hold(t, "SELECT FROM orders.orders WHERE id = $1 FOR UPDATE", locked.ID)
	for _, o := range []orderJSON{locked, other} {
		f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100})
	}
	f.waitForStatus(t, other.ID, "PAID")
	rejected := make(chan servicetest.Answer, 1)
	go func() {
		got, err := f.Do(t.Context(), http.MethodPost, "/orders/"+locked.ID+"/cancel", "")
		if err != nil {
			got.Body = err.Error()
		}
		rejected <- got
	}()
	for range 10 {
		o := f.place(t, 1, "1")
		require.Equal(t, http.StatusAccepted, f.Send(t, http.MethodPost, "/orders/"+o.ID+"/cancel", "").Status)
	}
	got := <-rejected
	require.Equal(t, http.StatusServiceUnavailable, got.Status, got.Body)
	require.Contains(t, got.Body, "nothing was done")
	require.Equal(t, "NEW", f.order(t, locked.ID).Status)
	release()
	require.Equal(t, 2, f.waitForStatus(t, locked.ID, "PAID").Version, "the rejected cancellation was not made later")
}

// An uncommitted transaction stores the key of a request. Only that request waits for it.
func TestUncommittedKeyDoesNotDelayOtherRequests(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.database.Hold(t, `INSERT INTO orders.idempotency_keys (user_id, operation, key, fingerprint, result) VALUES (1, 'place', 'held', '', '{}')`)
	rejected := make(chan servicetest.Answer, 1)
	go func() {
		got, err := f.Do(t.Context(), http.MethodPost, "/orders/", `{"user_id":1,"item":"x","price":1}`, "Idempotency-Key", "held")
		if err != nil {
			got.Body = err.Error()
		}
		rejected <- got
	}()
	for range 20 {
		f.place(t, 1, "1")
	}
	got := <-rejected
	require.Equal(t, http.StatusServiceUnavailable, got.Status, got.Body)
	require.Contains(t, got.Body, "nothing was done")
	require.Equal(t, 20, f.rows(t, "orders"))
}

// A result that contradicts its order must be dead-lettered, not only logged: money may have
// moved that the order does not show.
func TestImpossibleResultIsDeadLettered(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100})
	settled := f.waitForStatus(t, o.ID, "PAID")
	f.broker.PublishEvent(t, id(t), events.PaymentFailed{OrderID: o.ID, UserID: 1, Amount: 100, Reason: events.ReasonAccountNotFound})
	other := f.place(t, 1, "1")
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: other.ID, UserID: 1, Amount: 100})
	f.waitForStatus(t, other.ID, "PAID")
	dead := f.broker.Get(t, broker.PaymentsQueue+broker.DeadSuffix)
	require.Contains(t, dead.Headers[broker.HeaderReason], "contradicts")
	require.InDelta(t, 1, f.Metric(t, `consumer_messages_total{outcome="dead_lettered"}`), 0)
	require.Equal(t, settled, f.order(t, o.ID))
}

func TestChangedTablesFailNoRequest(t *testing.T) {
	t.Parallel()
	f := start(t)
	key := 0
	f.database.ChangeTables(t, postgres.Schema, func() {
		for range 12 { // more than connections in the pool, because each caches its statements
			key++
			got := f.Send(t, http.MethodPost, "/orders/", `{"user_id":1,"item":"x","price":1}`, "Idempotency-Key", strconv.Itoa(key))
			require.Equal(t, http.StatusCreated, got.Status, got.Body)
			path := got.Header.Get("Location")
			for _, read := range []string{path, "/orders?user_id=1"} {
				got := f.Send(t, http.MethodGet, read, "")
				require.Equal(t, http.StatusOK, got.Status, got.Body)
			}
			stream := servicetest.OpenStream(t, f.URL+"/orders/events?user_id=1", "")
			stream.Close()
			f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: path[len("/orders/"):], UserID: 1, Amount: 100})
			f.waitForStatus(t, path[len("/orders/"):], "PAID")
			got = f.Send(t, http.MethodPost, path+"/cancel", "")
			require.Equal(t, http.StatusAccepted, got.Status, got.Body)
		}
	})
}
