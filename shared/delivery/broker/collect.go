package broker

import (
	"context"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

const collectBatch = 100 // messages that are stored in one transaction

// DeadLetters moves messages out of the dead-letter queues and [Unrouted], and publishes
// them again. It has one connection, which is not repaired: after an error, close it. It is
// not safe for concurrent use.
type DeadLetters struct {
	conn   *connection
	source *amqp.Channel // gets messages
	target *confirmChannel
}

// ConnectDeadLetters connects to the broker. The URL is that of the service, or that of
// [OperatorUser], who may also retry.
func ConnectDeadLetters(cfg Config, name string) (*DeadLetters, error) {
	conn, err := cfg.connect(clientConfig(name))
	if err != nil {
		return nil, err
	}
	d := &DeadLetters{conn: conn}
	err = conn.withTimeout(func() (err error) {
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
// A message in [Unrouted] that a binding matches is not passed to store. The service that
// publishes such events will route it.
func (d *DeadLetters) Collect(ctx context.Context, queue string, store func(context.Context, []DeadLetter) error) error {
	remaining, err := d.depth(queue)
	var others []amqp.Delivery
	for err == nil && remaining > 0 && ctx.Err() == nil {
		var taken []amqp.Delivery
		if taken, err = d.take(queue, min(remaining, collectBatch)); err != nil || len(taken) == 0 {
			break // if it is empty, another process has taken the rest
		}
		remaining -= len(taken)
		var letters []DeadLetter
		var stored []amqp.Delivery
		for _, m := range taken {
			if queue == Unrouted && flowOf(m.RoutingKey) != (flow{}) {
				others = append(others, m)
			} else {
				letters, stored = append(letters, newDeadLetter(queue, m)), append(stored, m)
			}
		}
		if len(letters) == 0 {
			continue
		}
		err = store(ctx, letters)
		for i := 0; err == nil && i < len(stored); i++ {
			err = stored[i].Ack(false)
		}
	}
	for i := 0; err == nil && i < len(others); i++ {
		err = others[i].Reject(true)
	}
	if err != nil {
		return fmt.Errorf("collect %s: %w", queue, err)
	}
	return ctx.Err()
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

// CanRetry returns an error if the user of the connection may not retry.
func (d *DeadLetters) CanRetry() error {
	if d.conn.user != OperatorUser {
		return fmt.Errorf("the broker's user %s may not retry, only %s may", d.conn.user, OperatorUser)
	}
	return nil
}

// Retry publishes a dead letter to the queue that it comes from, past the exchange, because
// other consumers of the event have nothing to do with the failure. One from [Unrouted] is
// published to [Exchange] with its routing key. Nil means that the broker has stored it.
// After an error it may or may not have.
//
// The message names the dead letter and the number of the retry, so that it is recognized if
// it is dead-lettered again.
func (d *DeadLetters) Retry(ctx context.Context, letter DeadLetter) error {
	m := copied{RetryExchange, strings.TrimSuffix(letter.Queue, DeadSuffix), letter.Properties.publishing(d.conn.user)}
	m.Body = letter.Body
	m.Headers[HeaderRetry] = fmt.Sprintf("%s/%d", letter.RetryOf, letter.Retry)
	if letter.Queue == Unrouted {
		m.exchange, m.key = Exchange, letter.RoutingKey
	} else if _, exists := m.Headers[HeaderRoutingKey]; !exists {
		m.Headers[HeaderRoutingKey] = letter.RoutingKey
	}
	if err := d.publish(ctx, m); err != nil {
		return fmt.Errorf("publish %s to %s: %w", m.key, m.exchange, err)
	}
	return nil
}

// publish publishes a message and waits for its confirm, for a limited time.
func (d *DeadLetters) publish(ctx context.Context, m copied) error {
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	return d.conn.withTimeout(func() error { return d.target.publish(ctx, []copied{m})[0] })
}
