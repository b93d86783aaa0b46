package main

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

const stream = 300 // orders of 1.00 that are published while a server is killed

// publish publishes the stream and calls kill in the middle.
func (f *fixture) publish(t *testing.T, kill func()) {
	t.Helper()
	for i := range stream {
		if i == stream/2 {
			kill()
		}
		f.order(t, 1, 100)
	}
}

// requireDecidedOnce waits until all orders of the stream are decided and requires that each
// was charged once.
func (f *fixture) requireDecidedOnce(t *testing.T) {
	t.Helper()
	f.count(t, stream, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	f.count(t, 0, "SELECT count(*) FROM payments.outbox")
	require.Equal(t, "700", f.balance(t, 1))
	require.Zero(t, f.broker.Depth(t, broker.OrdersQueue+broker.DeadSuffix))
	f.verify(t)
}

func TestDatabaseRestartsMidBatch(t *testing.T) {
	t.Parallel()
	database, server := databasetest.Own(t)
	f := &fixture{database: database, broker: brokertest.New(t)}
	f.pool, _ = database.Open(t, postgres.Schema, migrations.FS)
	f.Service = f.startReplica(t).Ready(t)
	f.topUp(t, 1, "1000")
	f.publish(t, func() {
		server.Kill(t)
		f.Metric(t, "consumer_up") // the process keeps running without its database
		server.Restart(t)
	})
	f.requireDecidedOnce(t)
}

func TestBrokerRestartsMidBatch(t *testing.T) {
	t.Parallel()
	virtual, server := brokertest.Own(t)
	f := &fixture{database: databasetest.New(t), broker: virtual}
	f.pool, _ = f.database.Open(t, postgres.Schema, migrations.FS)
	f.Service = f.startReplica(t).Ready(t)
	f.topUp(t, 1, "1000")
	virtual.Registered(t)
	f.publish(t, func() {
		server.Kill(t)
		f.Degraded(t)
		server.Restart(t)
		f.Ready(t)
	})
	f.requireDecidedOnce(t)
}

func TestBrokerDownAtStart(t *testing.T) {
	t.Parallel()
	virtual, server := brokertest.Own(t)
	server.Kill(t)
	f := &fixture{database: databasetest.New(t), broker: virtual}
	f.pool, _ = f.database.Open(t, postgres.Schema, migrations.FS)
	f.Service = f.startReplica(t).Degraded(t)
	f.topUp(t, 1, "1000") // the API does not need the broker
	server.Restart(t)
	f.Ready(t)
	f.publish(t, func() {})
	f.requireDecidedOnce(t)
}

// The broker drops all connections of the service three times while orders are published.
// Messages that were delivered but not acknowledged are redelivered.
func TestConnectionsDropMidBatch(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "100000")
	n := 0
	for range 3 {
		servicetest.Eventually(t, func() bool {
			for range 20 {
				f.order(t, 1, 100)
				n++
			}
			return f.broker.DropConnections(t, "payments") > 0
		})
	}
	f.count(t, n, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	require.Equal(t, strconv.Itoa(100000-n), f.balance(t, 1))
	require.Zero(t, f.broker.Depth(t, broker.OrdersQueue+broker.DeadSuffix))
	f.verify(t)
}
