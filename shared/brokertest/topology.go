package brokertest

import (
	"net/http"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
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
	require.Eventually(t, func() bool { // the shop may be faster at declaring its own
		ch := b.Channel(t)
		defer ch.Close()
		if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
			return false
		}
		_, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "classic"})
		return err == nil
	}, 30*time.Second, time.Millisecond)
	return func() {
		_, err := b.Channel(t).QueueDelete(queue, false, false, false)
		require.NoError(t, err)
	}
}
