package broker

import (
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Names of exchanges and queues. RabbitMQ declares all of them when it starts, from
// deploy/rabbitmq/definitions.json.
const (
	Exchange      = "gozon.events"
	DeadExchange  = "gozon.dead"     // routes by the name of the queue that a message was taken from
	RetryExchange = "gozon.retry"    // routes by the name of a queue
	Unrouted      = "gozon.unrouted" // the alternate exchange and its queue
	OrdersQueue   = "orders_queue"   // consumed by payments
	PaymentsQueue = "payments_queue" // consumed by orders
	DeadSuffix    = ".dead"          // of a queue's dead-letter queue
)

// Users of the broker. A service has the name of its user.
const (
	OrdersUser   = "orders"
	PaymentsUser = "payments"
	OperatorUser = "operator" // retries dead letters
)

// flow is the way of the events of one service to another.
type flow struct{ key, producer, consumer string }

// flows maps each queue of [Exchange] to its binding key and its users.
var flows = map[string]flow{
	OrdersQueue:   {"order.#", OrdersUser, PaymentsUser},
	PaymentsQueue: {"payment.#", PaymentsUser, OrdersUser},
}

// matches reports whether the binding key matches a routing key.
func (f flow) matches(key string) bool {
	return strings.HasPrefix(key, strings.TrimSuffix(f.key, "#"))
}

// believes reports whether an event of the flow may come from user.
func (f flow) believes(user string) bool {
	return user != "" && (user == f.producer || user == OperatorUser)
}

// flowOf returns the flow of events with a routing key. It has no users if there is none.
func flowOf(key string) flow {
	for _, f := range flows {
		if f.matches(key) {
			return f
		}
	}
	return flow{}
}

// queueArguments returns the arguments of a queue of [Exchange]. They must not change: the
// broker would refuse to declare a queue that an earlier version has declared.
func queueArguments(queue string) amqp.Table {
	return amqp.Table{
		"x-queue-type":              "quorum",
		"x-dead-letter-exchange":    DeadExchange,
		"x-dead-letter-routing-key": queue,
		"x-dead-letter-strategy":    "at-least-once",
		"x-overflow":                "reject-publish", // required by at-least-once
		// When a connection drops, the broker counts a failed delivery for each
		// unacked message. Healthy messages must survive any number of those. Only
		// the consumer decides which messages are dead-lettered.
		"x-delivery-limit": int32(-1),
	}
}

// declare declares a queue and its dead-letter queue, and binds them. A service may declare
// only these two. Existing queues are not changed.
func declare(ch *amqp.Channel, queue string) error {
	dead := queue + DeadSuffix
	for name, args := range map[string]amqp.Table{dead: {"x-queue-type": "quorum"}, queue: queueArguments(queue)} {
		if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
			return fmt.Errorf("declare queue %s: %w", name, err)
		}
	}
	for _, b := range []struct{ queue, key, exchange string }{
		{dead, queue, DeadExchange}, {queue, flows[queue].key, Exchange}, {queue, queue, RetryExchange},
	} {
		if err := ch.QueueBind(b.queue, b.key, b.exchange, false, nil); err != nil {
			return fmt.Errorf("bind queue %s: %w", b.queue, err)
		}
	}
	return nil
}

// state is what inspect finds on the broker.
type state struct {
	missing  []string       // queues that the service may declare
	imported []string       // what is missing and only the broker declares, when it starts
	depths   map[string]int // messages that are ready, by queue
}

// inspect returns the state of the exchanges and of the queues that the consumer of queue
// uses. It cannot see bindings.
func inspect(c *connection, queue string) (s state, err error) {
	s.depths = map[string]int{}
	// exists reports whether declarePassive finds what it looks for.
	exists := func(name string, declarePassive func(*amqp.Channel) error) (bool, error) {
		ch, err := c.channel()
		if err != nil {
			return false, err
		}
		err = declarePassive(ch)
		if e := (*amqp.Error)(nil); errors.As(err, &e) && e.Code == amqp.NotFound {
			return false, nil // the broker has also closed the channel
		}
		if err != nil {
			return false, fmt.Errorf("inspect %s: %w", name, err)
		}
		return true, nil
	}
	for _, name := range []string{Unrouted, DeadExchange, RetryExchange, Exchange} {
		ok, err := exists(name, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(name, "", true, false, false, false, nil)
		})
		if err != nil {
			return s, err
		}
		if !ok {
			s.imported = append(s.imported, "exchange "+name)
		}
	}
	for _, name := range []string{Unrouted, queue + DeadSuffix, queue} {
		ok, err := exists(name, func(ch *amqp.Channel) error {
			found, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
			s.depths[name] = found.Messages
			return err
		})
		switch {
		case err != nil:
			return s, err
		case ok:
		case name == Unrouted:
			s.imported = append(s.imported, "queue "+name)
		default:
			s.missing = append(s.missing, "queue "+name)
		}
	}
	return s, nil
}
