package main

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"gozon/orders/internal/postgres"
	"gozon/orders/migrations"
	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

// deadLetters runs the command and requires that it succeeds.
func (f *fixture) deadLetters(t *testing.T, stdin string, args ...string) (stdout string) {
	t.Helper()
	exit, stdout, stderr := servicetest.Command(t, program(&config{}), f.database.URL("orders"), f.broker.URL(broker.OperatorUser), stdin, append([]string{"dead-letters"}, args...)...)
	require.Zero(t, exit, stderr)
	return stdout
}

type deadLetter struct {
	ID, State, Queue string
	RoutingKey       string `json:"routing_key"`
	Retries          int
}

func (f *fixture) deadLetterList(t *testing.T, args ...string) (all []deadLetter) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(f.deadLetters(t, "", append(args, "list", "--json")...)), &all))
	return all
}

// A result with an unknown order and no user, whose charge cannot be undone, is corrected.
func TestEditedResultSettlesItsOrder(t *testing.T) {
	t.Parallel()
	f := start(t)
	o, event := f.place(t, 1, "1"), id(t)
	f.broker.PublishEvent(t, event, events.PaymentSucceeded{OrderID: id(t).String(), Amount: 100})
	const queue = broker.PaymentsQueue + broker.DeadSuffix
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, queue) == 1 })
	require.Equal(t, []deadLetter{{event.String(), "open", queue, "payment.succeeded.v1", 0}}, f.deadLetterList(t))
	f.deadLetters(t, fmt.Sprintf(`{"order_id": %q, "user_id": 1, "amount_minor": 100}`, o.ID), "edit", "--retry", event.String())
	require.Equal(t, 2, f.waitForStatus(t, o.ID, "PAID").Version)
	require.Empty(t, f.deadLetterList(t))
}

// Messages that no binding matches are dead letters of orders. The services, which run at the
// same time, take such messages and requeue them.
func TestUnroutedMessages(t *testing.T) {
	t.Parallel()
	f := start(t)
	message := id(t)
	f.broker.PublishBatch(t, message, stray{}, stray{})
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, broker.Unrouted) == 1 })
	f.unrouted(t, deadLetter{message.String(), "open", broker.Unrouted, "stray.v1", 0})
	require.Contains(t, f.deadLetters(t, "", "show", message.String()), "no queue is bound for routing key stray.v1")
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, broker.Unrouted) == 0 })

	f.deadLetters(t, "", "retry", message.String()) // nothing is bound yet
	f.unrouted(t, deadLetter{message.String(), "open", broker.Unrouted, "stray.v1", 1})

	ch := f.broker.Channel(t)
	_, err := ch.QueueDeclare("strays", true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	require.NoError(t, err)
	require.NoError(t, ch.QueueBind("strays", "stray.#", broker.Exchange, false, nil))
	f.deadLetters(t, "", "retry", message.String())
	got := f.broker.Get(t, "strays")
	require.Equal(t, message.String(), got.MessageId)
	require.Equal(t, events.BatchContentType, got.ContentType)
	require.Empty(t, f.deadLetterList(t))
}

// unrouted waits until want is the only dead letter: a service may have taken the message.
func (f *fixture) unrouted(t *testing.T, want deadLetter) {
	t.Helper()
	servicetest.Eventually(t, func() bool {
		all := f.deadLetterList(t)
		return len(all) == 1 && all[0] == want
	})
}

// stray is an event that no queue is bound for.
type stray struct{}

func (stray) EventType() string    { return "stray.v1" }
func (stray) EventSubject() string { return "" }

// Messages in gozon.unrouted that a binding matches are left to the service that has published
// them, which is not running, however often dead letters are collected.
func TestUnroutedMessagesWithABindingAreLeft(t *testing.T) {
	t.Parallel()
	f := &fixture{database: databasetest.New(t), broker: brokertest.New(t)}
	f.database.Open(t, postgres.Schema, migrations.FS)
	ch := f.broker.Channel(t)
	for _, key := range []string{"stray.v1", "order.created.v1", "stray.v1", "payment.succeeded.v1"} {
		require.NoError(t, ch.PublishWithContext(t.Context(), broker.Unrouted, key, false, false, amqp.Publishing{
			MessageId: uuid.NewString(), Headers: amqp.Table{"n": int32(7), "table": amqp.Table{"bytes": []byte("b")}, "x-death": []any{}}, Body: []byte(key + uuid.NewString()),
		}))
	}
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, broker.Unrouted) == 4 })
	all := f.deadLetterList(t)
	require.Len(t, all, 2)
	for range 25 { // more than the default delivery limit
		require.Len(t, f.deadLetterList(t), 2)
	}
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, broker.Unrouted) == 2 })
	left := []string{f.broker.Get(t, broker.Unrouted).RoutingKey, f.broker.Get(t, broker.Unrouted).RoutingKey}
	require.ElementsMatch(t, []string{"order.created.v1", "payment.succeeded.v1"}, left)

	f.deadLetters(t, "", "retry", all[0].ID)
	got := f.broker.Get(t, broker.Unrouted)
	require.Equal(t, "stray.v1", got.RoutingKey)
	require.Equal(t, amqp.Table{"n": int64(7), "table": amqp.Table{"bytes": "b"}, broker.HeaderRetry: all[0].ID + "/1"}, got.Headers)
	require.Equal(t, amqp.Persistent, got.DeliveryMode)
}
