package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

func TestUnroutableMessageIsNotLost(t *testing.T) {
	t.Parallel()
	f := start(t)
	require.NoError(t, f.broker.Channel(t).QueueUnbind(broker.OrdersQueue, "order.#", broker.Exchange, nil))
	o := f.place(t, 1, "1")
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, broker.Unrouted) == 1 })
	f.broker.Import(t)                                               // payments binds its queue
	e, err := events.Parse(f.broker.Get(t, broker.OrdersQueue).Body) // orders routes the message again
	require.NoError(t, err)
	require.Equal(t, o.ID, e.Subject)
}

// The results queue is replaced by an incompatible one while two replicas run. Both report
// degraded, and the results are kept. Once the incompatible queue is deleted, both recover and
// the orders settle.
func TestDeletedQueueUnderTwoReplicas(t *testing.T) {
	t.Parallel()
	// A broker of its own: deleting and declaring a quorum queue at the same time has once broken RabbitMQ 4.0.5 for all
	// tests that shared it.
	b, _ := brokertest.Own(t)
	f := startOn(t, databasetest.New(t), b)
	other := f.startReplica(t).Ready(t)
	restore := f.broker.Usurp(t, broker.PaymentsQueue)
	f.Degraded(t)
	other.Degraded(t)
	const n = 20
	var placed []string
	for range n {
		o := f.place(t, 1, "1")
		f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100})
		placed = append(placed, o.ID)
	}
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, broker.Unrouted) == n })
	f.broker.RunConsumer(t, broker.OrdersQueue) // payments, which routes its results again
	restore()
	for _, orderID := range placed {
		f.waitForStatus(t, orderID, "PAID")
	}
	f.Ready(t)
	other.Ready(t)
	require.Equal(t, 2, f.broker.Consumers(t, broker.PaymentsQueue))
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, broker.Unrouted) == 0 })
}
