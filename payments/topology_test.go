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
	b := start(t)
	two := b.another(t).Ready(t)
	b.topUp(t, 1, "100")
	restore := b.broker.Usurp(t, broker.OrdersQueue)
	b.Degraded(t)
	two.Degraded(t)
	const n = 20
	for range n {
		b.order(t, 1, 100)
	}
	require.Equal(t, n, b.broker.Depth(t, broker.Unrouted))
	restore()
	b.count(t, n, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	require.Equal(t, "80", b.balance(t, 1))
	b.Ready(t)
	two.Ready(t)
	require.Equal(t, 2, b.broker.Consumers(t, broker.OrdersQueue))
	servicetest.Eventually(t, func() bool { return b.broker.Depth(t, broker.Unrouted) == 0 })
	b.sound(t)
}
