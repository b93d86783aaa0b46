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

const stream = 300 // orders of 1 while something is killed

// publish sends the stream and kills in its middle.
func (b *bench) publish(t *testing.T, kill func()) {
	t.Helper()
	for i := range stream {
		if i == stream/2 {
			kill()
		}
		b.order(t, 1, 100)
	}
}

// decidedOnce requires that every order of the stream was decided once and no more.
func (b *bench) decidedOnce(t *testing.T) {
	t.Helper()
	b.count(t, stream, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	b.count(t, 0, "SELECT count(*) FROM payments.outbox")
	require.Equal(t, "700", b.balance(t, 1))
	require.Zero(t, b.broker.Depth(t, broker.OrdersQueue+broker.DeadSuffix))
	b.sound(t)
}

func TestDatabaseRestartsMidBatch(t *testing.T) {
	t.Parallel()
	database, server := databasetest.Own(t)
	b := &bench{database: database, broker: brokertest.New(t)}
	b.pool, _ = database.Open(t, postgres.Schema, migrations.FS)
	b.Service = b.another(t).Ready(t)
	b.topUp(t, 1, "1000")
	b.publish(t, func() {
		server.Kill(t)
		b.Metric(t, "consumer_up") // it lives on without its database
		server.Restart(t)
	})
	b.decidedOnce(t)
}

func TestBrokerRestartsMidBatch(t *testing.T) {
	t.Parallel()
	virtual, server := brokertest.Own(t)
	b := &bench{database: databasetest.New(t), broker: virtual}
	b.pool, _ = b.database.Open(t, postgres.Schema, migrations.FS)
	b.Service = b.another(t).Ready(t)
	b.topUp(t, 1, "1000")
	virtual.Registered(t)
	b.publish(t, func() {
		server.Kill(t)
		b.Degraded(t)
		server.Restart(t)
		b.Ready(t)
	})
	b.decidedOnce(t)
}

func TestBrokerDownAtStart(t *testing.T) {
	t.Parallel()
	virtual, server := brokertest.Own(t)
	server.Kill(t)
	b := &bench{database: databasetest.New(t), broker: virtual}
	b.pool, _ = b.database.Open(t, postgres.Schema, migrations.FS)
	b.Service = b.another(t).Degraded(t)
	b.topUp(t, 1, "1000") // the API works meanwhile
	server.Restart(t)
	b.Ready(t)
	b.publish(t, func() {})
	b.decidedOnce(t)
}

// The broker drops every connection of the service, three times while orders
// stream in: what was delivered and not yet acked comes again.
func TestConnectionsDropMidBatch(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.topUp(t, 1, "100000")
	n := 0
	for range 3 {
		servicetest.Eventually(t, func() bool {
			for range 20 {
				b.order(t, 1, 100)
				n++
			}
			return b.broker.DropConnections(t, "payments") > 0
		})
	}
	b.count(t, n, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	require.Equal(t, strconv.Itoa(100000-n), b.balance(t, 1))
	require.Zero(t, b.broker.Depth(t, broker.OrdersQueue+broker.DeadSuffix))
	b.sound(t)
}
