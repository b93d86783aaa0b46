package broker_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
)

// A queue or binding of a service that is deleted while two replicas run is declared again.
// Anything else is reported until the broker imports its definitions. Then both continue.
func TestDeletedTopologyIsDeclaredAgain(t *testing.T) {
	t.Parallel()
	deleteQueue := func(name string) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(name, false, false, false)
			return err
		}
	}
	deleteExchange := func(name string) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error { return ch.ExchangeDelete(name, false, false) }
	}
	unbind := func(queue, key, exchange string) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error { return ch.QueueUnbind(queue, key, exchange, nil) }
	}
	const dead = broker.OrdersQueue + broker.DeadSuffix
	for name, tc := range map[string]struct {
		missing   string // what is reported; empty if it is declared again
		deletions []func(*amqp.Channel) error
	}{
		"the queue":                {"", []func(*amqp.Channel) error{deleteQueue(broker.OrdersQueue)}},
		"its binding":              {"", []func(*amqp.Channel) error{unbind(broker.OrdersQueue, "order.#", broker.Exchange)}},
		"its retry binding":        {"", []func(*amqp.Channel) error{unbind(broker.OrdersQueue, broker.OrdersQueue, broker.RetryExchange)}},
		"the dead-letter queue":    {"", []func(*amqp.Channel) error{deleteQueue(dead)}},
		"the dead-letter binding":  {"", []func(*amqp.Channel) error{unbind(dead, broker.OrdersQueue, broker.DeadExchange)}},
		"both queues":              {"", []func(*amqp.Channel) error{deleteQueue(broker.OrdersQueue), deleteQueue(dead)}},
		"the dead-letter exchange": {"exchange gozon.dead", []func(*amqp.Channel) error{deleteExchange(broker.DeadExchange)}},
		"the retry exchange":       {"exchange gozon.retry", []func(*amqp.Channel) error{deleteExchange(broker.RetryExchange)}},
		"the exchange":             {"exchange gozon.events", []func(*amqp.Channel) error{deleteExchange(broker.Exchange)}},
		"the alternate exchange":   {"exchange gozon.unrouted", []func(*amqp.Channel) error{deleteExchange(broker.Unrouted)}},
		"the unrouted queue":       {"queue gozon.unrouted", []func(*amqp.Channel) error{deleteQueue(broker.Unrouted)}},
		"everything": {"no exchange 'gozon.dead'", []func(*amqp.Channel) error{
			deleteQueue(broker.OrdersQueue), deleteQueue(broker.PaymentsQueue), deleteQueue(dead),
			deleteQueue(broker.PaymentsQueue + broker.DeadSuffix), deleteQueue(broker.Unrouted),
			deleteExchange(broker.Exchange), deleteExchange(broker.Unrouted), deleteExchange(broker.DeadExchange), deleteExchange(broker.RetryExchange),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := brokertest.New(t)
			one, two := startReplica(t, b, "one", broker.OrdersQueue), startReplica(t, b, "two", broker.OrdersQueue)
			complete := b.Topology(t)
			ch := b.Channel(t)
			for _, deletion := range tc.deletions {
				require.NoError(t, deletion(ch))
			}
			if tc.missing != "" {
				eventually(t, func() bool {
					err := one.Ready(t.Context())
					return err != nil && strings.Contains(err.Error(), tc.missing)
				}, "readiness does not report it")
				b.Import(t)
			}
			eventually(t, func() bool { return strings.Join(b.Topology(t), "\n") == strings.Join(complete, "\n") }, "the topology is not restored")
			eventually(t, func() bool { return b.Consumers(t, broker.OrdersQueue) == 2 }, "not both replicas consume")
			for _, r := range []*replica{one, two} {
				eventually(t, func() bool { return r.Ready(t.Context()) == nil }, "a replica is not ready")
			}
			b.Publish(t, "order.created.v1", []byte("good"))
			eventually(t, func() bool { return one.times("good")+two.times("good") == 1 }, "the message is not handled once")
			b.Publish(t, "order.created.v1", []byte("bad"))
			require.Equal(t, "bad", string(b.Get(t, dead).Body))
			b.Publish(t, "unroutable", []byte("unroutable"))
			require.Equal(t, "unroutable", string(b.Get(t, broker.Unrouted).Body))
		})
	}
}

func TestQueueThatCannotBeDeclaredIsReported(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	r := startReplica(t, b, "one", broker.OrdersQueue)
	b.RunConsumer(t, broker.PaymentsQueue) // orders, which routes its events again
	restore := b.Usurp(t, broker.OrdersQueue)
	eventually(t, func() bool {
		err := r.Ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "declare queue orders_queue") && strings.Contains(err.Error(), "inequivalent arg")
	}, "readiness does not report the reason")
	b.Publish(t, "order.created.v1", []byte("good"))
	restore()
	eventually(t, func() bool { return r.times("good") == 1 }, "the message is not handled")
	eventually(t, func() bool { return r.Ready(t.Context()) == nil }, "the replica is not ready again")
}

// ordersMessage returns a message that orders has published.
func ordersMessage(body string) amqp.Publishing {
	return amqp.Publishing{UserId: broker.OrdersUser, Body: []byte(body)}
}

func TestUnroutedMessageIsRoutedUnchanged(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	startReplica(t, b, "one", broker.PaymentsQueue) // so nothing consumes orders_queue
	at := time.Now().UTC().Truncate(time.Second)
	sent := amqp.Publishing{
		Headers: amqp.Table{"traceparent": "00-x", "n": int32(1)}, ContentType: "application/cloudevents+json", ContentEncoding: "utf-8",
		DeliveryMode: amqp.Persistent, Priority: 3, CorrelationId: "correlation", ReplyTo: "reply", MessageId: "id", Timestamp: at,
		Type: "order.created.v1", AppId: "/orders", UserId: broker.OrdersUser, Body: []byte("body"),
	}
	ch := b.Channel(t)
	require.NoError(t, ch.PublishWithContext(t.Context(), broker.Unrouted, "order.created.v1", false, false, sent))
	got := b.Get(t, broker.OrdersQueue)
	require.Equal(t, broker.Exchange, got.Exchange)
	require.Equal(t, "order.created.v1", got.RoutingKey)
	routed := amqp.Publishing{
		Headers: got.Headers, ContentType: got.ContentType, ContentEncoding: got.ContentEncoding, DeliveryMode: got.DeliveryMode,
		Priority: got.Priority, CorrelationId: got.CorrelationId, ReplyTo: got.ReplyTo, MessageId: got.MessageId, Timestamp: got.Timestamp.UTC(),
		Type: got.Type, AppId: got.AppId, UserId: got.UserId, Body: got.Body,
	}
	require.Equal(t, sent, routed)
	require.Zero(t, b.Depth(t, broker.Unrouted))
}

// Messages that no binding matches stay in the queue, however often they are requeued. Messages
// behind them are routed, by several replicas at once.
func TestRedriveKeepsUnroutableMessagesAndRoutesOthers(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	const n = 250
	one := startReplica(t, b, "one", broker.OrdersQueue)
	ch := b.Channel(t)
	for i := range n {
		require.NoError(t, ch.PublishWithContext(t.Context(), broker.Unrouted, "unroutable", false, false, amqp.Publishing{Body: []byte("unroutable")}))
		require.NoError(t, ch.PublishWithContext(t.Context(), broker.Unrouted, "order.x", false, false, ordersMessage(strconv.Itoa(i))))
	}
	two, three := startReplica(t, b, "two", broker.OrdersQueue), startReplica(t, b, "three", broker.PaymentsQueue)
	b.RunConsumer(t, broker.PaymentsQueue)
	for i := range n {
		body := strconv.Itoa(i)
		eventually(t, func() bool { return one.times(body)+two.times(body) > 0 }, "not routed: "+body)
	}
	eventually(t, func() bool { return b.Depth(t, broker.Unrouted) >= n }, "an unroutable message is lost")
	eventually(t, func() bool { return gauge(t, three, "unrouted_messages") >= n }, "the gauge does not count them")
	require.Contains(t, three.logged(), "queue of undeliverable messages has grown")
}

func TestInterruptedRedriveLosesNothing(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	r := startReplica(t, b, "one", broker.OrdersQueue)
	startReplica(t, b, "two", broker.PaymentsQueue)
	const n = 2000
	ch := b.Channel(t)
	for i := range n {
		require.NoError(t, ch.PublishWithContext(t.Context(), broker.Unrouted, "order.x", false, false, ordersMessage(strconv.Itoa(i))))
		if i%(n/4) == n/8 {
			eventually(t, func() bool { return b.DropConnections(t, "two topology") > 0 }, "no connection to drop")
		}
	}
	for i := range n {
		body := strconv.Itoa(i)
		eventually(t, func() bool { return r.times(body) > 0 }, "not routed: "+body)
	}
	eventually(t, func() bool { return b.Depth(t, broker.Unrouted) == 0 }, "the queue is not empty")
}

func TestDeadLettersAreCounted(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	r := startReplica(t, b, "one", broker.OrdersQueue)
	require.Zero(t, gauge(t, r, "dead_letter_messages"))
	b.Publish(t, "order.x", []byte("bad"))
	eventually(t, func() bool { return gauge(t, r, "dead_letter_messages") == 1 }, "the gauge does not count it")
	require.Equal(t, 1, strings.Count(r.logged(), "queue of undeliverable messages has grown"))
}
