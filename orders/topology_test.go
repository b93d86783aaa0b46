package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/servicetest"
)

func TestUnroutableMessageIsNotLost(t *testing.T) {
	t.Parallel()
	b := start(t)
	require.NoError(t, b.broker.Channel(t).QueueUnbind(broker.OrdersQueue, "order.#", broker.Exchange, nil))
	o := b.place(t, 1, "1")
	e, err := events.Parse(b.broker.Get(t, broker.OrdersQueue).Body) // bound and routed again
	require.NoError(t, err)
	require.Equal(t, o.ID, e.Subject)
}

// The queue of the results is replaced by one that nobody can work with, under two
// replicas. Both say so, the results are kept meanwhile, and once that queue is deleted
// both recover and the orders settle.
func TestDeletedQueueUnderTwoReplicas(t *testing.T) {
	t.Parallel()
	b := start(t)
	two := b.another(t).Ready(t)
	restore := b.broker.Usurp(t, broker.PaymentsQueue)
	b.Degraded(t)
	two.Degraded(t)
	const n = 20
	var placed []string
	for range n {
		o := b.place(t, 1, "1")
		b.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100})
		placed = append(placed, o.ID)
	}
	require.Equal(t, n, b.broker.Depth(t, broker.Unrouted))
	restore()
	for _, orderID := range placed {
		b.becomes(t, orderID, "PAID")
	}
	b.Ready(t)
	two.Ready(t)
	require.Equal(t, 2, b.broker.Consumers(t, broker.PaymentsQueue))
	servicetest.Eventually(t, func() bool { return b.broker.Depth(t, broker.Unrouted) == 0 })
}
