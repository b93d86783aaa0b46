package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/servicetest"
)

// forge publishes a result in the name of a user. It returns the id of the event.
func (f *fixture) forge(t *testing.T, user string, e events.PaymentSucceeded) string {
	t.Helper()
	data, err := json.Marshal(e)
	require.NoError(t, err)
	envelope := events.Envelope{SpecVersion: "1.0", ID: id(t).String(), Source: "gozon/payments", Type: e.EventType(), Subject: e.OrderID, Data: data}
	body, err := json.Marshal(envelope)
	require.NoError(t, err)
	f.broker.PublishAs(t, user, e.EventType(), body)
	return envelope.ID
}

// A result that payments has not published is dead-lettered, whatever it says. It settles its
// order only if an operator retries exactly this one.
func TestForgedResultSettlesNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	succeeded := events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100}
	users := []string{broker.OrdersUser, "admin", ""} // without a user, as earlier versions have published
	var letter string
	for _, user := range users {
		letter = f.forge(t, user, succeeded)
	}
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, broker.PaymentsQueue+broker.DeadSuffix) == len(users) })
	require.Contains(t, f.deadLetters(t, "", "show", letter), `published by "", and only events of payments are believed`)
	out := f.deadLetters(t, "", "retry-all")
	require.Contains(t, out, "skipped "+letter+`: published by ""; look at it, then retry it by its id`)
	require.NotContains(t, out, "retried")
	require.Len(t, f.deadLetterList(t), len(users))
	f.waitForStatus(t, o.ID, "NEW")

	f.deadLetters(t, "", "retry", letter)
	f.waitForStatus(t, o.ID, "PAID")
}

// A result for another user or amount than the order's is dead-lettered.
func TestResultForAnotherUserOrAmountIsDeadLettered(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	for _, e := range []events.PaymentSucceeded{{OrderID: o.ID, UserID: 2, Amount: 100}, {OrderID: o.ID, UserID: 1, Amount: 1}} {
		f.broker.PublishEvent(t, id(t), e)
		dead := f.broker.Get(t, broker.PaymentsQueue+broker.DeadSuffix)
		require.Contains(t, dead.Headers[broker.HeaderReason], "the payment decision contradicts the order")
	}
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100})
	require.Equal(t, 2, f.waitForStatus(t, o.ID, "PAID").Version)
}
