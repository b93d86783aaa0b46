package broker_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/containertest"
	"gozon/shared/test/servicetest"
)

func TestMain(m *testing.M) { os.Exit(containertest.Main(m)) }

func eventually(t *testing.T, met func() bool, what string) {
	t.Helper()
	servicetest.Eventually(t, met, what)
}

// replica is a running consumer of a queue. Bodies that begin with "bad" are poison.
type replica struct {
	*broker.Consumer
	metrics *prometheus.Registry

	mu      sync.Mutex
	handled map[string]int
	log     bytes.Buffer
}

func consume(t *testing.T, b *brokertest.Broker, name, queue string) *replica {
	t.Helper()
	r := &replica{metrics: prometheus.NewRegistry(), handled: map[string]int{}}
	r.Consumer = broker.NewConsumer(broker.Config{AMQPURL: b.URL(), DeadLetterAfter: time.Minute}, name, queue, r.handle, slog.New(slog.NewTextHandler(r, nil)), r.metrics)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		if t.Failed() {
			t.Log(name + ":\n" + r.logged())
		}
	})
	eventually(t, func() bool { return r.Ready(t.Context()) == nil }, name+" is ready")
	return r
}

func (r *replica) handle(_ context.Context, bodies [][]byte) []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := make([]error, len(bodies))
	for i, body := range bodies {
		if r.handled[string(body)]++; bytes.HasPrefix(body, []byte("bad")) {
			errs[i] = broker.ErrPoison
		}
	}
	return errs
}

func (r *replica) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(line)
}

func (r *replica) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

func (r *replica) times(body string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.handled[body]
}

// Whatever is deleted while two replicas run is declared again, and both go on.
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
	for name, deletions := range map[string][]func(*amqp.Channel) error{
		"the queue":                 {deleteQueue(broker.OrdersQueue)},
		"its binding":               {unbind(broker.OrdersQueue, "order.#", broker.Exchange)},
		"the dead-letter queue":     {deleteQueue(dead)},
		"the dead-letter binding":   {unbind(dead, broker.OrdersQueue, broker.DeadExchange)},
		"the dead-letter exchange":  {deleteExchange(broker.DeadExchange)},
		"the exchange":              {deleteExchange(broker.Exchange)},
		"the alternate exchange":    {deleteExchange(broker.Unrouted)},
		"the queue of the unrouted": {deleteQueue(broker.Unrouted)},
		"everything": {
			deleteQueue(broker.OrdersQueue), deleteQueue(broker.PaymentsQueue), deleteQueue(dead),
			deleteQueue(broker.PaymentsQueue + broker.DeadSuffix), deleteQueue(broker.Unrouted),
			deleteExchange(broker.Exchange), deleteExchange(broker.Unrouted), deleteExchange(broker.DeadExchange),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := brokertest.New(t)
			one, two := consume(t, b, "one", broker.OrdersQueue), consume(t, b, "two", broker.OrdersQueue)
			whole := b.Topology(t)
			ch := b.Channel(t)
			for _, deletion := range deletions {
				require.NoError(t, deletion(ch))
			}
			eventually(t, func() bool { return strings.Join(b.Topology(t), "\n") == strings.Join(whole, "\n") }, "the topology is whole")
			eventually(t, func() bool { return b.Consumers(t, broker.OrdersQueue) == 2 }, "both consume")
			for _, r := range []*replica{one, two} {
				eventually(t, func() bool { return r.Ready(t.Context()) == nil }, "both are ready")
			}
			b.Publish(t, "order.created.v1", []byte("good"))
			eventually(t, func() bool { return one.times("good")+two.times("good") == 1 }, "a message is handled")
			b.Publish(t, "order.created.v1", []byte("bad"))
			require.Equal(t, "bad", string(b.Get(t, dead).Body))
			b.Publish(t, "stray", []byte("stray"))
			require.Equal(t, "stray", string(b.Get(t, broker.Unrouted).Body))
		})
	}
}

func TestQueueThatCannotBeDeclaredIsReported(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	r := consume(t, b, "one", broker.OrdersQueue)
	restore := b.Usurp(t, broker.OrdersQueue)
	eventually(t, func() bool {
		err := r.Ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "declare queue orders_queue") && strings.Contains(err.Error(), "inequivalent arg")
	}, "readiness says why")
	b.Publish(t, "order.created.v1", []byte("good"))
	restore()
	eventually(t, func() bool { return r.times("good") == 1 }, "the message is handled")
	eventually(t, func() bool { return r.Ready(t.Context()) == nil }, "it is ready again")
}

func TestUnroutedMessageIsRoutedAgainAsItWas(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	consume(t, b, "one", broker.PaymentsQueue) // nobody takes from orders_queue
	at := time.Now().UTC().Truncate(time.Second)
	sent := amqp.Publishing{
		Headers: amqp.Table{"traceparent": "00-x", "n": int32(1)}, ContentType: "application/cloudevents+json", ContentEncoding: "utf-8",
		DeliveryMode: amqp.Persistent, Priority: 3, CorrelationId: "correlation", ReplyTo: "reply", MessageId: "id", Timestamp: at,
		Type: "order.created.v1", AppId: "/orders", UserId: "gozon", Body: []byte("body"),
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

// Strays, which no binding matches, stay. What lies behind them is routed, by any
// number of replicas.
func TestStraysStayAndWhatLiesBehindThemIsRouted(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	const n = 250
	one := consume(t, b, "one", broker.OrdersQueue)
	ch := b.Channel(t)
	for i := range n {
		require.NoError(t, ch.PublishWithContext(t.Context(), broker.Unrouted, "stray", false, false, amqp.Publishing{Body: []byte("stray")}))
		require.NoError(t, ch.PublishWithContext(t.Context(), broker.Unrouted, "order.x", false, false, amqp.Publishing{Body: []byte(strconv.Itoa(i))}))
	}
	two, three := consume(t, b, "two", broker.OrdersQueue), consume(t, b, "three", broker.PaymentsQueue)
	for i := range n {
		body := strconv.Itoa(i)
		eventually(t, func() bool { return one.times(body)+two.times(body) > 0 }, "routed: "+body)
	}
	eventually(t, func() bool { return b.Depth(t, broker.Unrouted) >= n }, "every stray is kept")
	eventually(t, func() bool { return gauge(t, three, "unrouted_messages") >= n }, "the gauge shows them")
	require.Contains(t, three.logged(), "queue of undeliverable messages has grown")
}

func TestRedriveThatIsCutOffLosesNothing(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	r := consume(t, b, "one", broker.OrdersQueue)
	const n = 2000
	ch := b.Channel(t)
	for i := range n {
		require.NoError(t, ch.PublishWithContext(t.Context(), broker.Unrouted, "order.x", false, false, amqp.Publishing{Body: []byte(strconv.Itoa(i))}))
		if i%(n/4) == n/8 {
			eventually(t, func() bool { return b.DropConnections(t, "one topology") > 0 }, "cut off")
		}
	}
	for i := range n {
		body := strconv.Itoa(i)
		eventually(t, func() bool { return r.times(body) > 0 }, "routed: "+body)
	}
	eventually(t, func() bool { return b.Depth(t, broker.Unrouted) == 0 }, "nothing is left")
}

func TestDeadLettersAreCounted(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	r := consume(t, b, "one", broker.OrdersQueue)
	require.Zero(t, gauge(t, r, "dead_letter_messages"))
	b.Publish(t, "order.x", []byte("bad"))
	eventually(t, func() bool { return gauge(t, r, "dead_letter_messages") == 1 }, "the gauge shows it")
	require.Equal(t, 1, strings.Count(r.logged(), "queue of undeliverable messages has grown"))
}

func gauge(t *testing.T, r *replica, name string) int {
	t.Helper()
	families, err := r.metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return int(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	require.Fail(t, "no "+name)
	return 0
}
