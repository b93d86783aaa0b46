package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/payments/internal/postgres"
	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/service/participant"
	"gozon/shared/test/servicetest"
)

// An order that orders has not published is not charged, even with the user of payments.
func TestForgedOrderIsNotCharged(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "1000")
	data, err := json.Marshal(events.OrderCreated{OrderID: id(t).String(), UserID: 1, Amount: 100})
	require.NoError(t, err)
	body, err := json.Marshal(events.Envelope{SpecVersion: "1.0", ID: id(t).String(), Type: events.TypeOrderCreated, Data: data})
	require.NoError(t, err)
	for _, user := range []string{broker.PaymentsUser, "admin", ""} {
		f.broker.PublishAs(t, user, events.TypeOrderCreated, body)
		require.Contains(t, f.broker.Get(t, deadQueue).Headers[broker.HeaderReason], "only events of orders are believed")
	}
	require.Equal(t, "1000", f.balance(t, 1))
}

// The user of the service may look at its dead letters and discard them. Only the operator may
// retry them.
func TestServiceMayNotRetryItsDeadLetters(t *testing.T) {
	t.Parallel()
	f := start(t)
	event, _ := f.poison(t, 1)
	f.dead(t, 1)
	run := func(args ...string) (exit int, stdout, stderr string) {
		return servicetest.Command(t, program(&participant.Config{}), f.database.URL(postgres.Schema), f.broker.URL(broker.PaymentsUser), "", append([]string{"dead-letters"}, args...)...)
	}
	exit, _, stderr := run("retry", event.String())
	require.Equal(t, 1, exit)
	require.Contains(t, stderr, "the broker's user payments may not retry, only operator may")
	exit, stdout, _ := run("list")
	require.Zero(t, exit)
	require.Contains(t, stdout, "open")
	exit, _, _ = run("discard", event.String(), "--reason", "a test order")
	require.Zero(t, exit)
}
