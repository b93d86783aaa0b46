package broker

import (
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Names of exchanges and queues.
const (
	Exchange      = "gozon.events"
	DeadExchange  = "gozon.dead"
	Unrouted      = "gozon.unrouted" // the alternate exchange and its queue
	OrdersQueue   = "orders_queue"   // consumed by payments
	PaymentsQueue = "payments_queue" // consumed by orders
	DeadSuffix    = ".dead"          // of a queue's dead-letter queue
)

// bindings maps each queue of [Exchange] to its binding key.
var bindings = map[string]string{OrdersQueue: "order.#", PaymentsQueue: "payment.#"}

type exchange struct {
	name, kind string
	args       amqp.Table
}

type queue struct {
	name, exchange, key string
	args                amqp.Table
}

// topology returns all exchanges and queues, in an order in which they can be declared.
func topology() ([]exchange, []queue) {
	exchanges := []exchange{
		{Unrouted, amqp.ExchangeFanout, nil},
		{DeadExchange, amqp.ExchangeDirect, nil},
		{Exchange, amqp.ExchangeTopic, amqp.Table{"alternate-exchange": Unrouted}},
	}
	queues := []queue{{Unrouted, Unrouted, "", amqp.Table{}}}
	for name, key := range bindings {
		queues = append(queues, queue{name + DeadSuffix, DeadExchange, name, amqp.Table{}}, queue{name, Exchange, key, amqp.Table{
			"x-dead-letter-exchange":    DeadExchange,
			"x-dead-letter-routing-key": name,
			"x-dead-letter-strategy":    "at-least-once",
			"x-overflow":                "reject-publish", // required by at-least-once
			// When a connection drops, the broker counts a failed delivery for each
			// unacked message. Healthy messages must survive any number of those. Only
			// the consumer decides which messages are dead-lettered.
			"x-delivery-limit": int32(-1),
		}})
	}
	return exchanges, queues
}

// declare declares the whole topology. Existing exchanges and queues are not changed.
func declare(ch *amqp.Channel) error {
	exchanges, queues := topology()
	for _, e := range exchanges {
		if err := ch.ExchangeDeclare(e.name, e.kind, true, false, false, false, e.args); err != nil {
			return fmt.Errorf("declare exchange %s: %w", e.name, err)
		}
	}
	for _, q := range queues {
		q.args["x-queue-type"] = "quorum"
		if _, err := ch.QueueDeclare(q.name, true, false, false, false, q.args); err != nil {
			return fmt.Errorf("declare queue %s: %w", q.name, err)
		}
		if err := ch.QueueBind(q.name, q.key, q.exchange, false, nil); err != nil {
			return fmt.Errorf("bind queue %s: %w", q.name, err)
		}
	}
	return nil
}

// inspect returns which exchanges and queues of the topology are missing, and how many
// messages are ready in each queue. It cannot see bindings.
func inspect(c *connection) (missing []string, depths map[string]int, err error) {
	exchanges, queues := topology()
	depths = map[string]int{}
	check := func(name string, declarePassive func(*amqp.Channel) error) error {
		ch, err := c.channel()
		if err != nil {
			return err
		}
		err = declarePassive(ch)
		if e := (*amqp.Error)(nil); errors.As(err, &e) && e.Code == amqp.NotFound {
			missing = append(missing, name) // the broker has also closed the channel
			return nil
		}
		if err != nil {
			return fmt.Errorf("inspect %s: %w", name, err)
		}
		return nil
	}
	for _, e := range exchanges {
		if err := check("exchange "+e.name, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(e.name, e.kind, true, false, false, false, nil)
		}); err != nil {
			return nil, nil, err
		}
	}
	for _, q := range queues {
		if err := check("queue "+q.name, func(ch *amqp.Channel) error {
			state, err := ch.QueueDeclarePassive(q.name, true, false, false, false, nil)
			depths[q.name] = state.Messages
			return err
		}); err != nil {
			return nil, nil, err
		}
	}
	return missing, depths, nil
}
