package broker

import (
	"fmt"
	"net"
	"sync"
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

// bindings are the queues of [Exchange] with the keys of the events that they get.
var bindings = map[string]string{OrdersQueue: "order.#", PaymentsQueue: "payment.#"}

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
	for queue, key := range bindings {
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
// (a broker under a memory alarm stops reading), which tells when it is closed, and
// which can be corked: what is written meanwhile goes out in one piece, so that a
// batch of messages does not cost a packet and a wake-up of the broker for each.
type socket struct {
	net.Conn
	closed func()

	mu     sync.Mutex
	corked bool
	held   []byte
}

// corkMax is how much is held before it goes out all the same, in bytes.
const corkMax = 64 << 10

func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.corked {
		return s.write(b)
	}
	s.held = append(s.held, b...)
	if len(s.held) >= corkMax {
		return len(b), s.flush()
	}
	return len(b), nil
}

func (s *socket) cork() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corked = true
}

func (s *socket) uncork() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corked = false
	return s.flush()
}

func (s *socket) flush() error {
	_, err := s.write(s.held)
	s.held = s.held[:0]
	return err
}

func (s *socket) write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := s.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, fmt.Errorf("write deadline: %w", err)
	}
	return s.Conn.Write(b)
}

// Close is called by the client library on every way in which a connection ends.
func (s *socket) Close() error {
	s.closed()
	return s.Conn.Close()
}
