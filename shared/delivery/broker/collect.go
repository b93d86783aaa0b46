package broker

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	collectBatch = 100 // messages that are stored in one transaction
	// refreshAfter is the number of failed deliveries after which a message is replaced by a
	// copy of itself. By default RabbitMQ 4 drops a message of a quorum queue after 20.
	refreshAfter = 5
)

// DeadLetters moves messages out of the dead-letter queues and [Unrouted], and publishes
// them again. It has one connection, which is not repaired: after an error, close it. It is
// not safe for concurrent use.
type DeadLetters struct {
	conn   *connection
	source *amqp.Channel // gets messages
	target *confirmChannel
}

// ConnectDeadLetters connects to the broker and declares the topology.
func ConnectDeadLetters(cfg Config, name string) (*DeadLetters, error) {
	conn, err := cfg.connect(clientConfig(name))
	if err != nil {
		return nil, err
	}
	d := &DeadLetters{conn: conn}
	err = conn.withTimeout(func() (err error) {
		if err := conn.declare(); err != nil {
			return err
		}
		if d.source, err = conn.Channel(); err != nil {
			return fmt.Errorf("open a channel: %w", err)
		}
		d.target, err = conn.confirmChannel(collectBatch)
		return err
	})
	if err != nil {
		conn.close()
		return nil, err
	}
	return d, nil
}

// Close closes the connection. Messages that were taken and not stored return to their queue.
func (d *DeadLetters) Close() { d.conn.close() }

// Collect takes the messages that are in queue now and passes them to store, in batches. The
// messages of a batch are acked after store has returned nil. If the process dies before
// that, they are passed to store again by a later call.
//
// A message in [Unrouted] that a binding matches is not passed to store. It is routed, as
// the services would do within a minute.
func (d *DeadLetters) Collect(ctx context.Context, queue string, store func(context.Context, []DeadLetter) error) error {
	remaining, err := d.depth(queue)
	for err == nil && remaining > 0 && ctx.Err() == nil {
		var taken []amqp.Delivery
		if taken, err = d.take(queue, min(remaining, collectBatch)); err != nil || len(taken) == 0 {
			break // if it is empty, another process has taken the rest
		}
		remaining -= len(taken)
		var letters []DeadLetter
		var last amqp.Delivery // in letters
		var moved []amqp.Delivery
		var copies []copied
		for _, m := range taken {
			if c, move := d.moved(queue, m); move {
				moved, copies = append(moved, m), append(copies, c)
				if c.exchange != Exchange {
					remaining++ // the copy is at the tail
				}
			} else {
				letters, last = append(letters, newDeadLetter(queue, m)), m
			}
		}
		if err = d.move(ctx, moved, copies); err != nil || len(letters) == 0 {
			continue
		}
		if err = store(ctx, letters); err == nil {
			err = last.Ack(true)
		}
	}
	if err != nil {
		return fmt.Errorf("collect %s: %w", queue, err)
	}
	return ctx.Err()
}

// moved reports whether a message is published again instead of being stored, and returns its
// copy.
func (d *DeadLetters) moved(queue string, m amqp.Delivery) (c copied, move bool) {
	c = copied{"", queue, copyDelivery(m, d.conn.user)}
	c.DeliveryMode = amqp.Persistent
	if queue == Unrouted {
		c.exchange, c.key = Unrouted, m.RoutingKey
		if hasBinding(m.RoutingKey) {
			c.exchange = Exchange
			return c, true
		}
	}
	count, _ := m.Headers["x-delivery-count"].(int64)
	return c, count >= refreshAfter
}

// depth returns the number of messages that are ready in a queue.
func (d *DeadLetters) depth(queue string) (n int, err error) {
	err = d.conn.withTimeout(func() error {
		state, err := d.source.QueueDeclarePassive(queue, true, false, false, false, nil)
		n = state.Messages
		return err
	})
	return n, err
}

// take gets up to n messages. They are unacked.
func (d *DeadLetters) take(queue string, n int) (taken []amqp.Delivery, err error) {
	err = d.conn.withTimeout(func() error {
		for len(taken) < n {
			m, ok, err := d.source.Get(queue, false)
			if err != nil || !ok {
				return err
			}
			taken = append(taken, m)
		}
		return nil
	})
	return taken, err
}

// move publishes copies of messages and acks each message whose copy is confirmed.
func (d *DeadLetters) move(ctx context.Context, messages []amqp.Delivery, copies []copied) error {
	var failed error
	for i, err := range d.publish(ctx, copies) {
		if err == nil {
			err = messages[i].Ack(false)
		}
		failed = cmp.Or(failed, err)
	}
	return failed
}

// publish publishes messages and waits for their confirms, for a limited time. It returns one
// error for each message, in order.
func (d *DeadLetters) publish(ctx context.Context, messages []copied) (errs []error) {
	if len(messages) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	_ = d.conn.withTimeout(func() error {
		errs = d.target.publish(ctx, messages)
		return nil
	})
	return errs
}

// Retry publishes a dead letter to the queue that it comes from, past the exchange, because
// other consumers of the event have nothing to do with the failure. One from [Unrouted] is
// published to [Exchange] with its routing key. Nil means that the broker has stored it.
// After an error it may or may not have.
//
// The message names the dead letter and the number of the retry, so that it is recognized if
// it is dead-lettered again.
func (d *DeadLetters) Retry(ctx context.Context, letter DeadLetter) error {
	m := copied{"", strings.TrimSuffix(letter.Queue, DeadSuffix), letter.Properties.publishing(d.conn.user)}
	m.Body = letter.Body
	m.Headers[HeaderRetry] = fmt.Sprintf("%s/%d", letter.RetryOf, letter.Retry)
	if letter.Queue == Unrouted {
		m.exchange, m.key = Exchange, letter.RoutingKey
	} else if _, exists := m.Headers[HeaderRoutingKey]; !exists {
		m.Headers[HeaderRoutingKey] = letter.RoutingKey
	}
	if err := d.publish(ctx, []copied{m})[0]; err != nil {
		return fmt.Errorf("publish to %s%s: %w", m.exchange, m.key, err)
	}
	return nil
}
