package main

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/servicetest"
)

func (f *fixture) cancel(t *testing.T, orderID string, header ...string) servicetest.Answer {
	t.Helper()
	return f.Send(t, http.MethodPost, "/orders/"+orderID+"/cancel", "", header...)
}

func decodeOrder(t *testing.T, response servicetest.Answer) orderJSON {
	t.Helper()
	var o orderJSON
	require.NoError(t, json.Unmarshal([]byte(response.Body), &o), response.Body)
	return o
}

// nextMessage returns the next message from orders_queue, which must have the type.
func (f *fixture) nextMessage(t *testing.T, eventType string) events.Envelope {
	t.Helper()
	e, err := events.Parse(f.broker.Get(t, broker.OrdersQueue).Body)
	require.NoError(t, err)
	require.Equal(t, eventType, e.Type)
	require.WithinDuration(t, time.Now(), e.PublishedAt, time.Minute)
	return e
}

func TestNewOrderIsCancelled(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	f.nextMessage(t, events.TypeOrderCreated)
	first := f.cancel(t, o.ID)
	require.Equal(t, http.StatusAccepted, first.Status, first.Body)
	require.Equal(t, "/orders/"+o.ID, first.Header.Get("Location"))
	cancelling := decodeOrder(t, first)
	require.Equal(t, "CANCELLING", cancelling.Status)
	require.Empty(t, cancelling.CancelReason)
	require.Equal(t, 2, cancelling.Version)
	require.Equal(t, cancelling, f.order(t, o.ID))
	var requested events.OrderCancelRequested
	require.NoError(t, f.nextMessage(t, events.TypeOrderCancelRequested).Decode(&requested))
	require.Equal(t, events.OrderCancelRequested{OrderID: o.ID, UserID: 1, Amount: 100}, requested)

	require.Equal(t, first.Body, f.cancel(t, o.ID).Body, "a second request gets the same response")
	f.broker.PublishEvent(t, id(t), events.PaymentVoided{OrderID: o.ID, UserID: 1, Amount: 100, VoidedAt: time.Now().UTC()})
	ended := f.waitForStatus(t, o.ID, "CANCELLED")
	require.Equal(t, "cancelled_by_user", ended.CancelReason)
	require.Equal(t, 3, ended.Version)
	require.Equal(t, []string{"placed", "cancel_requested", "cancelled"}, ended.steps())
	retry := f.cancel(t, o.ID)
	require.Equal(t, http.StatusAccepted, retry.Status)
	require.Equal(t, ended, decodeOrder(t, retry))
	require.Equal(t, 0, f.rows(t, "outbox"))
	require.Zero(t, f.broker.Depth(t, broker.OrdersQueue), "the cancellation was requested only once")
}

func TestPaidOrderIsCancelled(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	at := o.CreatedAt
	succeeded := events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100, PublishedAt: at.Add(1), ChargedAt: at.Add(2)}
	f.broker.PublishEvent(t, id(t), succeeded)
	f.waitForStatus(t, o.ID, "PAID")
	require.Equal(t, "CANCELLING", decodeOrder(t, f.cancel(t, o.ID)).Status)
	f.broker.PublishEvent(t, id(t), events.PaymentRefunded{OrderID: o.ID, UserID: 1, Amount: 100, PublishedAt: at.Add(1), ChargedAt: at.Add(2), RefundedAt: time.Now().UTC()})
	ended := f.waitForStatus(t, o.ID, "CANCELLED")
	require.Equal(t, "cancelled_by_user", ended.CancelReason)
	require.Equal(t, 4, ended.Version)
	require.Equal(t, []string{"placed", "published", "charged", "confirmed", "cancel_requested", "refunded", "cancelled"}, ended.steps())
}

// The order is charged before the cancellation reaches payments. The results arrive in either
// order, and some of them twice.
func TestCancellationAcceptsResultsInAnyOrder(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	f.cancel(t, o.ID)
	now := time.Now().UTC().Truncate(time.Microsecond)
	refunded := events.PaymentRefunded{OrderID: o.ID, UserID: 1, Amount: 100, PublishedAt: now, ChargedAt: now, RefundedAt: now}
	f.broker.PublishEvent(t, id(t), refunded)
	ended := f.waitForStatus(t, o.ID, "CANCELLED")
	require.Equal(t, []string{"placed", "cancel_requested", "published", "charged", "refunded", "cancelled"}, ended.steps())
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100, PublishedAt: now, ChargedAt: now})
	f.broker.PublishEvent(t, id(t), refunded)
	f.broker.PublishEvent(t, id(t), events.PaymentVoided{OrderID: o.ID, UserID: 1, Amount: 100, VoidedAt: now})
	f.waitForOutcome(t, "duplicate", 2)
	require.Contains(t, f.broker.Get(t, broker.PaymentsQueue+broker.DeadSuffix).Headers[broker.HeaderReason], "contradicts")
	require.Equal(t, ended, f.order(t, o.ID))

	// The result of the charge arrives first. It only adds to the timeline.
	o = f.place(t, 1, "1")
	f.cancel(t, o.ID)
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100, PublishedAt: now, ChargedAt: now})
	f.waitForOutcome(t, "noted", 1)
	noted := f.order(t, o.ID)
	require.Equal(t, "CANCELLING", noted.Status)
	require.Equal(t, 3, noted.Version)
	require.Contains(t, noted.steps(), "charged")
	refunded.OrderID = o.ID
	f.broker.PublishEvent(t, id(t), refunded)
	require.Equal(t, "cancelled_by_user", f.waitForStatus(t, o.ID, "CANCELLED").CancelReason)
}

func TestInvalidCancellationIsRejected(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	f.broker.PublishEvent(t, id(t), events.PaymentFailed{OrderID: o.ID, UserID: 1, Amount: 100, Reason: events.ReasonAccountNotFound})
	refused := f.waitForStatus(t, o.ID, "CANCELLED")
	for path, want := range map[string]struct {
		status  int
		problem string
	}{
		"/orders/" + o.ID + "/cancel":                             {http.StatusConflict, "/problems/not-cancellable"},
		"/orders/01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f/cancel/":    {http.StatusNotFound, "/problems/not-found"},
		"/orders/1/cancel":                                        {http.StatusBadRequest, "/problems/invalid-parameter"},
		"/orders/01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f/cancelling": {http.StatusNotFound, "/problems/not-found"},
	} {
		got := f.Send(t, http.MethodPost, path, "", "Idempotency-Key", "k")
		require.Equal(t, want.status, got.Status, got.Body)
		require.Contains(t, got.Body, want.problem)
	}
	require.Equal(t, http.StatusMethodNotAllowed, f.Send(t, http.MethodGet, "/orders/"+o.ID+"/cancel", "").Status)
	require.Equal(t, http.StatusBadRequest, f.cancel(t, o.ID, "Idempotency-Key", "a b").Status)
	require.Equal(t, refused, f.order(t, o.ID))
	require.Zero(t, f.rows(t, "idempotency_keys"))
}
