package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/broker"
	"gozon/shared/test/servicetest"
)

// The queue of the orders is replaced by one that nobody can work with, under two
// replicas. Both say so, the orders are kept meanwhile, and once that queue is deleted
// both recover and every order is charged once.
func TestDeletedQueueUnderTwoReplicas(t *testing.T) {
	t.Parallel()
	f := start(t)
	two := f.another(t).Ready(t)
	f.topUp(t, 1, "100")
	restore := f.broker.Usurp(t, broker.OrdersQueue)
	f.Degraded(t)
	two.Degraded(t)
	const n = 20
	for range n {
		f.order(t, 1, 100)
	}
	require.Equal(t, n, f.broker.Depth(t, broker.Unrouted))
	restore()
	f.count(t, n, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	require.Equal(t, "80", f.balance(t, 1))
	f.Ready(t)
	two.Ready(t)
	require.Equal(t, 2, f.broker.Consumers(t, broker.OrdersQueue))
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, broker.Unrouted) == 0 })
	f.sound(t)
}
