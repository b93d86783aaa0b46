package brokertest

import (
	"io"
	"net/http"
	"slices"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"gozon/shared/test/servicetest"
)

// Topology lists the exchanges, queues and bindings of the virtual host.
func (b *Broker) Topology(t testing.TB) []string {
	t.Helper()
	var listed []string
	for _, kind := range []string{"exchanges", "queues", "bindings"} {
		var entities []struct {
			Name, Type, Source, Destination string
			RoutingKey                      string `json:"routing_key"`
		}
		b.manage(t, http.MethodGet, kind+"/"+b.vhost, nil, &entities)
		for _, e := range entities {
			listed = append(listed, kind+" "+e.Name+e.Type+e.Source+" "+e.RoutingKey+" "+e.Destination)
		}
	}
	slices.Sort(listed)
	return listed
}

// Consumers is the number of consumers of a queue.
func (b *Broker) Consumers(t testing.TB, queue string) int {
	t.Helper()
	ch := b.Channel(t)
	defer ch.Close()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	require.NoError(t, err)
	return q.Consumers
}

// Usurp deletes a queue and puts another of the same name in its place, with which
// the shop cannot work. It returns a function that deletes that one.
func (b *Broker) Usurp(t testing.TB, queue string) (restore func()) {
	t.Helper()
	servicetest.Eventually(t, func() bool { // the shop may be faster at declaring its own
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

// Suspend stops a quorum queue in its tracks until resume: it takes messages, but
// confirms and delivers none.
func (b *Broker) Suspend(t testing.TB, queue string) (resume func()) {
	t.Helper()
	b.eval(t, "sys:suspend('"+b.vhost+"_"+queue+"').")
	return func() { b.eval(t, "sys:resume('"+b.vhost+"_"+queue+"').") }
}

// eval evaluates an Erlang expression in the broker.
func (b *Broker) eval(t testing.TB, expression string) {
	t.Helper()
	code, out, err := b.server.Exec(t.Context(), []string{"rabbitmqctl", "eval", expression})
	require.NoError(t, err)
	answer, err := io.ReadAll(out)
	require.NoError(t, err)
	require.Zero(t, code, string(answer))
}
