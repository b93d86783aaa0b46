package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

const (
	repeated = "order_requests_repeated_total"
	overdue  = "orders_overdue"
)

// startImpatient starts a service whose orders are soon overdue.
func startImpatient(t *testing.T, vhost *brokertest.Broker) *fixture {
	t.Helper()
	f := startOn(t, databasetest.New(t), vhost, "OVERDUE_AFTER", "2s")
	f.Ready(t)
	return f
}

// payments replies to the messages in orders_queue as the payments service does: the first
// request decides about an order, and each reply is the state of its payment.
type payments struct {
	f       *fixture
	decided map[string]events.Event
	seen    map[uuid.UUID]bool // ids of events
}

func (f *fixture) payments() *payments {
	return &payments{f, map[string]events.Event{}, map[uuid.UUID]bool{}}
}

// reply replies to the messages that are waiting.
func (p *payments) reply(t *testing.T) {
	t.Helper()
	ch := p.f.broker.Channel(t)
	defer ch.Close()
	for {
		d, ok, err := ch.Get(broker.OrdersQueue, true)
		if gone, isAMQP := errors.AsType[*amqp.Error](err); isAMQP && gone.Code == amqp.NotFound {
			return // the queue is not declared again yet
		}
		require.NoError(t, err)
		if !ok {
			return
		}
		bodies, err := events.Split(d.Body)
		require.NoError(t, err)
		for _, body := range bodies {
			e, err := events.Parse(body)
			require.NoError(t, err)
			eventID := uuid.MustParse(e.ID)
			require.False(t, p.seen[eventID], "a repeated request is a new event")
			p.seen[eventID] = true
			p.decide(t, e)
			p.f.broker.PublishEvent(t, id(t), p.decided[e.Subject])
		}
	}
}

func (p *payments) decide(t *testing.T, e events.Envelope) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	if e.Type == events.TypeOrderCreated {
		var c events.OrderCreated
		require.NoError(t, e.Decode(&c))
		if p.decided[c.OrderID] == nil {
			p.decided[c.OrderID] = events.PaymentSucceeded{OrderID: c.OrderID, UserID: c.UserID, Amount: c.Amount, ChargedAt: now}
		}
		return
	}
	var c events.OrderCancelRequested
	require.NoError(t, e.Decode(&c))
	switch charged := p.decided[c.OrderID].(type) {
	case nil:
		p.decided[c.OrderID] = events.PaymentVoided{OrderID: c.OrderID, UserID: c.UserID, Amount: c.Amount, VoidedAt: now}
	case events.PaymentSucceeded:
		p.decided[c.OrderID] = events.PaymentRefunded{OrderID: c.OrderID, UserID: c.UserID, Amount: c.Amount, ChargedAt: charged.ChargedAt, RefundedAt: now}
	}
}

// waitForStatuses replies to messages until the orders have their statuses.
func (p *payments) waitForStatuses(t *testing.T, want map[string]string) {
	t.Helper()
	for orderID, status := range want {
		servicetest.Eventually(t, func() bool {
			p.reply(t)
			return p.f.order(t, orderID).Status == status
		}, "%s is not %s", orderID, status)
	}
	servicetest.Eventually(t, func() bool { return p.f.Metric(t, overdue) == 0 })
	require.Zero(t, p.f.broker.Depth(t, broker.PaymentsQueue+broker.DeadSuffix))
}

// lose places orders and cancels some of them, before and after they were paid. It calls
// destroy when the requests of all of them are in orders_queue, or were published and lost.
// The result is the final status of each order.
func (p *payments) lose(t *testing.T, destroy func()) map[string]string {
	t.Helper()
	f, want := p.f, map[string]string{}
	refunded := f.place(t, 1, "1")
	p.waitForStatuses(t, map[string]string{refunded.ID: "PAID"})
	want[f.place(t, 1, "1").ID] = "PAID"
	voided := f.place(t, 1, "1")
	f.cancel(t, voided.ID)
	f.cancel(t, refunded.ID)
	want[voided.ID], want[refunded.ID] = "CANCELLED", "CANCELLED"
	servicetest.Eventually(t, func() bool { return f.rows(t, "outbox") == 0 })
	destroy()
	return want
}

func TestPurgedRequestsAreRepeated(t *testing.T) {
	t.Parallel()
	f := startImpatient(t, brokertest.New(t))
	p := f.payments()
	want := p.lose(t, func() { require.Positive(t, f.broker.Purge(t, broker.OrdersQueue)) })
	servicetest.Eventually(t, func() bool { return f.Metric(t, overdue) == float64(len(want)) })
	require.GreaterOrEqual(t, f.Metric(t, "orders_overdue_oldest_age_seconds"), 2.0)
	p.waitForStatuses(t, want)
	require.GreaterOrEqual(t, f.Metric(t, repeated), float64(len(want)))
	require.Zero(t, f.rows(t, "watched"))
}

// The replies are lost, not the requests.
func TestPurgedRepliesAreRequestedAgain(t *testing.T) {
	t.Parallel()
	f := startImpatient(t, brokertest.New(t))
	p := f.payments()
	want := p.lose(t, func() {
		for len(p.seen) < 5 { // one of the first order, four since
			e := f.broker.GetEvents(t, broker.OrdersQueue)
			for i := range e {
				p.seen[uuid.MustParse(e[i].ID)] = true
				p.decide(t, e[i]) // without a reply
			}
		}
	})
	p.waitForStatuses(t, want)
}

func TestRequestsInADeletedQueueAreRepeated(t *testing.T) {
	t.Parallel()
	b, _ := brokertest.Own(t) // as in TestDeletedQueueUnderTwoReplicas
	f := startImpatient(t, b)
	p := f.payments()
	p.waitForStatuses(t, p.lose(t, func() {
		for _, queue := range []string{broker.OrdersQueue, broker.PaymentsQueue} {
			_, err := b.Channel(t).QueueDelete(queue, false, false, false)
			require.NoError(t, err)
		}
		servicetest.Eventually(t, func() bool { // orders declares its queue again
			return slices.ContainsFunc(b.Topology(t), func(name string) bool { return strings.HasPrefix(name, "queues "+broker.PaymentsQueue+"quorum") })
		})
		b.Import(t) // payments would declare the other one
	}))
	f.Ready(t)
}

func TestBrokerThatLostItsDisk(t *testing.T) {
	t.Parallel()
	vhost, _ := brokertest.Own(t)
	f := startImpatient(t, vhost)
	p := f.payments()
	want := p.lose(t, func() { vhost.Reset(t) })
	f.Ready(t)
	p.waitForStatuses(t, want)
}

func TestNothingIsRepeatedWhileTheBrokerIsDown(t *testing.T) {
	t.Parallel()
	vhost, server := brokertest.Own(t)
	f := startImpatient(t, vhost)
	p := f.payments()
	vhost.Registered(t)
	server.Kill(t)
	want := map[string]string{}
	for range 5 {
		want[f.place(t, 1, "1").ID] = "PAID"
	}
	servicetest.Eventually(t, func() bool { return f.Metric(t, "orders_overdue_oldest_age_seconds") > 8 })
	require.InDelta(t, 5, f.Metric(t, overdue), 0)
	require.Equal(t, 5, f.rows(t, "outbox"))
	require.Zero(t, f.Metric(t, repeated))
	server.Restart(t)
	f.Ready(t)
	p.waitForStatuses(t, want)
}

// The database was restored to a time before the order, and payments charges it.
func TestChargeWithoutAnOrderIsUndone(t *testing.T) {
	t.Parallel()
	f := start(t)
	lost := id(t).String()
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: lost, UserID: 7, Amount: 1990})
	var requested events.OrderCancelRequested
	require.NoError(t, f.nextMessage(t, events.TypeOrderCancelRequested).Decode(&requested))
	require.Equal(t, events.OrderCancelRequested{OrderID: lost, UserID: 7, Amount: 1990}, requested)
	now := time.Now().UTC()
	f.broker.PublishEvent(t, id(t), events.PaymentRefunded{OrderID: lost, UserID: 7, Amount: 1990, ChargedAt: now, RefundedAt: now})
	f.broker.PublishEvent(t, id(t), events.PaymentVoided{OrderID: lost, UserID: 7, Amount: 1990, VoidedAt: now})
	f.broker.PublishEvent(t, id(t), events.PaymentFailed{OrderID: lost, UserID: 7, Amount: 1990, Reason: events.ReasonAccountNotFound})
	f.waitForOutcome(t, "ignored", 3)
	f.waitForOutcome(t, "orphaned", 1)
	require.Zero(t, f.rows(t, "outbox"))
	require.Zero(t, f.rows(t, "orders"))
	require.Zero(t, f.broker.Depth(t, broker.OrdersQueue), "the reply emits nothing")
	require.Zero(t, f.broker.Depth(t, broker.PaymentsQueue+broker.DeadSuffix))
}

// The database is restored to a time a minute ago, while payments_queue keeps the decision
// about an order that is waiting again. The charge may be undone too, so payments is asked.
func TestDecisionFromBeforeARestoreIsNotBelieved(t *testing.T) {
	t.Parallel()
	f := start(t)
	p := f.payments()
	o, refused := f.place(t, 1, "1"), f.place(t, 1, "1")
	p.waitForStatuses(t, map[string]string{o.ID: "PAID", refused.ID: "PAID"})
	f.Stop()
	_, err := f.pool.ExecContext(t.Context(), `UPDATE orders.orders SET status = 'NEW', version = 1, charged_at = NULL, confirmed_at = NULL`)
	require.NoError(t, err)
	_, err = f.pool.ExecContext(t.Context(), `UPDATE orders.watchdog SET swept_at = now() - interval '1 minute'`)
	require.NoError(t, err)
	for _, succeeded := range p.decided {
		f.broker.PublishEvent(t, id(t), succeeded)
	}
	delete(p.decided, o.ID) // the charge is undone
	p.decided[refused.ID] = events.PaymentFailed{OrderID: refused.ID, UserID: 1, Amount: 100, Reason: events.ReasonInsufficientFunds}

	f.Service = f.startReplica(t).Ready(t)
	f.waitForOutcome(t, "stale", 2)
	require.Equal(t, "NEW", f.order(t, o.ID).Status)
	p.waitForStatuses(t, map[string]string{o.ID: "PAID", refused.ID: "CANCELLED"})
	f.waitForOutcome(t, "applied", 2)
}
