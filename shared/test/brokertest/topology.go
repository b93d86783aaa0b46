package brokertest

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/broker"
	"gozon/shared/test/servicetest"
)

// Topology returns the exchanges, queues and bindings of the virtual host, sorted.
func (b *Broker) Topology(t testing.TB) []string {
	t.Helper()
	var names []string
	for _, kind := range []string{"exchanges", "queues", "bindings"} {
		var entities []struct {
			Name, Type, Source, Destination string
			RoutingKey                      string `json:"routing_key"`
		}
		b.manage(t, http.MethodGet, kind+"/"+b.vhost, nil, &entities)
		for _, e := range entities {
			names = append(names, kind+" "+e.Name+e.Type+e.Source+" "+e.RoutingKey+" "+e.Destination)
		}
	}
	slices.Sort(names)
	return names
}

// Consumers returns the number of consumers of a queue.
func (b *Broker) Consumers(t testing.TB, queue string) int {
	t.Helper()
	ch := b.Channel(t)
	defer ch.Close()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	require.NoError(t, err)
	return q.Consumers
}

// Usurp replaces a queue with an incompatible one of the same name, which the services
// cannot declare. The returned function deletes the replacement.
func (b *Broker) Usurp(t testing.TB, queue string) (restore func()) {
	t.Helper()
	servicetest.Eventually(t, func() bool { // a service may declare its queue again first
		ch := b.Channel(t)
		defer ch.Close()
		if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
			return false
		}
		_, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "classic"})
		return err == nil
	})
	return func() {
		_, err := b.Channel(t).QueueDelete(queue, false, false, false)
		require.NoError(t, err)
	}
}

// Management returns the status of a call of the management API by a user.
func (b *Broker) Management(t testing.TB, user, password string) int {
	t.Helper()
	endpoint, err := b.server.PortEndpoint(t.Context(), "15672/tcp", "http")
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint+"/api/queues", http.NoBody)
	require.NoError(t, err)
	req.SetBasicAuth(user, password)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// RunConsumer runs the consumer of a queue as its service does, until the test ends. It drops
// the events.
func (b *Broker) RunConsumer(t testing.TB, queue string) {
	t.Helper()
	user := broker.PaymentsUser
	if queue == broker.PaymentsQueue {
		user = broker.OrdersUser
	}
	c := broker.NewConsumer(broker.Config{AMQPURL: b.URL(user), DeadLetterAfter: time.Minute}, "consumer of "+queue, queue,
		func(_ context.Context, received []broker.Received) []error { return make([]error, len(received)) },
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
}

// Suspend suspends a quorum queue until resume is called. While suspended, the queue accepts
// messages but neither confirms nor delivers any.
func (b *Broker) Suspend(t testing.TB, queue string) (resume func()) {
	t.Helper()
	b.eval(t, "sys:suspend('"+b.vhost+"_"+queue+"').")
	return func() { b.eval(t, "sys:resume('"+b.vhost+"_"+queue+"').") }
}

// Purge deletes the ready messages of a queue and returns their number.
func (b *Broker) Purge(t testing.TB, queue string) int {
	t.Helper()
	n, err := b.Channel(t).QueuePurge(queue, false)
	require.NoError(t, err)
	return n
}

// Reset deletes everything that the server has stored, as if it had lost its disk, and creates
// the virtual host again. It must be the server of this test alone.
func (b *Broker) Reset(t testing.TB) {
	t.Helper()
	for _, command := range []string{"stop_app", "reset", "start_app"} {
		b.ctl(t, command)
	}
	b.Import(t)
}

// Alarm raises the alarm of a resource, disk or memory, as if there were none left: the broker
// stops reading from connections that publish. It must be the server of this test alone.
func (b *Broker) Alarm(t testing.TB, resource string) (end func()) {
	t.Helper()
	limit := map[string]struct{ command, none, some string }{
		"disk":   {"set_disk_free_limit", "1000000GB", "1MB"},
		"memory": {"set_vm_memory_high_watermark", "0.00001", "0.6"},
	}[resource]
	b.ctl(t, limit.command, limit.none)
	return func() { b.ctl(t, limit.command, limit.some) }
}

// eval evaluates an Erlang expression in the broker.
func (b *Broker) eval(t testing.TB, expression string) {
	t.Helper()
	b.ctl(t, "eval", expression)
}

// ctl runs a command of rabbitmqctl.
func (b *Broker) ctl(t testing.TB, command ...string) {
	t.Helper()
	b.server.Command(t, append([]string{"rabbitmqctl"}, command...)...)
}
