package broker

import (
	"fmt"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The names of the topology.
const (
	Exchange      = "gozon.events"
	DeadExchange  = "gozon.dead"
	Unrouted      = "gozon.unrouted" // an exchange and its queue
	OrdersQueue   = "orders_queue"   // for payments
	PaymentsQueue = "payments_queue" // for orders
	DeadSuffix    = ".dead"
)

// declare makes the whole topology on a short connection of its own. Both ends
// do so before they use it: start order never matters.
func declare(url string, cfg amqp.Config) error {
	conn, err := amqp.DialConfig(url, cfg)
	if err != nil {
		return fmt.Errorf("declare topology: %w", err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("declare topology: %w", err)
	}
	d := declarer{ch: ch}
	d.exchange(Unrouted, amqp.ExchangeFanout, nil)
	d.exchange(DeadExchange, amqp.ExchangeDirect, nil)
	d.exchange(Exchange, amqp.ExchangeTopic, amqp.Table{"alternate-exchange": Unrouted})
	d.queue(Unrouted, Unrouted, "", amqp.Table{})
	for queue, key := range map[string]string{OrdersQueue: "order.#", PaymentsQueue: "payment.#"} {
		d.queue(queue+DeadSuffix, DeadExchange, queue, amqp.Table{})
		d.queue(queue, Exchange, key, amqp.Table{
			"x-dead-letter-exchange":    DeadExchange,
			"x-dead-letter-routing-key": queue,
			"x-dead-letter-strategy":    "at-least-once",
			"x-overflow":                "reject-publish", // at-least-once needs it
			// A connection that drops with unacked messages counts as a failed
			// delivery of each. Healthy messages must survive any number of those;
			// the consumer itself says which message is poison.
			"x-delivery-limit": int32(-1),
		})
	}
	return d.err
}

// declarer stops at the first error, which closes the channel.
type declarer struct {
	ch  *amqp.Channel
	err error
}

func (d *declarer) exchange(name, kind string, args amqp.Table) {
	if d.err == nil {
		if err := d.ch.ExchangeDeclare(name, kind, true, false, false, false, args); err != nil {
			d.err = fmt.Errorf("declare exchange %s: %w", name, err)
		}
	}
}

func (d *declarer) queue(name, exchange, key string, args amqp.Table) {
	if d.err != nil {
		return
	}
	args["x-queue-type"] = "quorum"
	if _, err := d.ch.QueueDeclare(name, true, false, false, false, args); err != nil {
		d.err = fmt.Errorf("declare queue %s: %w", name, err)
		return
	}
	if err := d.ch.QueueBind(name, key, exchange, false, nil); err != nil {
		d.err = fmt.Errorf("bind queue %s: %w", name, err)
	}
}

const (
	dialTimeout  = 3 * time.Second
	writeTimeout = 10 * time.Second
	heartbeat    = 5 * time.Second
)

// socket is a connection whose writes have a deadline, which AMQP clients lack
// (a broker under a memory alarm stops reading), and which tells when it is closed.
type socket struct {
	net.Conn
	closed func()
}

func (s socket) Write(b []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, fmt.Errorf("write deadline: %w", err)
	}
	return s.Conn.Write(b)
}

// Close is called by the client library on every way in which a connection ends.
func (s socket) Close() error {
	s.closed()
	return s.Conn.Close()
}
