package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/broker"
	"gozon/shared/test/servicetest"
)

// orders_queue is replaced by an incompatible queue under two replicas. Both report degraded,
// and new orders are kept as unrouted. Once the queue is deleted, both recover and every order
// is charged once.
func TestDeletedQueueUnderTwoReplicas(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.startReplica(t).Ready(t)
	f.topUp(t, 1, "100")
	restore := f.broker.Usurp(t, broker.OrdersQueue)
	f.Degraded(t)
	other.Degraded(t)
	const n = 20
	for range n {
		f.order(t, 1, 100)
	}
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, broker.Unrouted) == n })
	f.broker.RunConsumer(t, broker.PaymentsQueue) // orders, which routes its events again
	restore()
	f.count(t, n, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	require.Equal(t, "80", f.balance(t, 1))
	f.Ready(t)
	other.Ready(t)
	require.Equal(t, 2, f.broker.Consumers(t, broker.OrdersQueue))
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, broker.Unrouted) == 0 })
	f.verify(t)
}
