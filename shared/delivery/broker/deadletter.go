package broker

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Headers of a dead-lettered message.
const (
	HeaderReason     = "gozon-reason"      // the error, as text
	HeaderFailedAt   = "gozon-failed-at"   // when it was dead-lettered, RFC 3339
	HeaderRoutingKey = "gozon-routing-key" // the routing key that it was first published with
)

const (
	deadLetterTimeout = 5 * time.Second
	maxReason         = 1 << 10 // bytes
)

// deadLetter copies messages to the dead-letter queue, each with the reason. The caller
// then acks the originals. If it rejected them instead, only the log would contain the
// reason. A crash before the ack leaves a message in both queues; it can take effect at most
// once.
//
// It opens a separate connection: the broker blocks connections that publish while it is
// short of memory or disk, and acks must not be blocked.
func (c *Consumer) deadLetter(ctx context.Context, messages []*message, reasons []error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadLetterTimeout)
	defer cancel()
	conn, err := connect(c.url, clientConfig(c.name+" dead letters"))
	if err != nil {
		return fmt.Errorf("dead-letter: %w", err)
	}
	defer conn.close()
	// Only the wait for confirms observes ctx. withTimeout also covers a broker that stops reading.
	err = conn.withTimeout(func() error { return c.publishDead(ctx, conn, messages, reasons) })
	if err != nil {
		return fmt.Errorf("dead-letter: %w", err)
	}
	return nil
}

func (c *Consumer) publishDead(ctx context.Context, conn *connection, messages []*message, reasons []error) error {
	ch, err := conn.confirmChannel(len(messages))
	if err != nil {
		return err
	}
	batch := make([]copied, len(messages))
	for i, m := range messages {
		c.log.ErrorContext(ctx, "consumer: message failed, dead-lettering it",
			"message_id", m.MessageId, "type", m.Type, "error", reasons[i])
		p := copyDelivery(m.Delivery.Delivery, conn.user)
		p.DeliveryMode = amqp.Persistent
		if p.Headers == nil {
			p.Headers = amqp.Table{}
		}
		reason := reasons[i].Error()
		p.Headers[HeaderReason] = strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
		p.Headers[HeaderFailedAt] = time.Now().UTC().Format(time.RFC3339)
		if _, exists := p.Headers[HeaderRoutingKey]; !exists {
			p.Headers[HeaderRoutingKey] = m.RoutingKey
		}
		batch[i] = copied{DeadExchange, c.queue, p}
	}
	return cmp.Or(ch.publish(ctx, batch)...) // the first error
}
