package broker

import (
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
	HeaderRoutingKey = "gozon-routing-key" // what it was published with
)

const (
	deadLetterWithin = 5 * time.Second
	reasonMax        = 1 << 10 // bytes
)

// deadLetter moves messages to the dead-letter queue, each with the reason; the caller acks
// them afterwards. Rejecting them would leave the reason in a log line alone. A crash in
// between leaves a copy in both queues, of which at most one can take effect.
//
// It uses a short connection of its own: one that publishes is blocked while the broker is
// short of memory or disk, and acks must not be.
func (c *Consumer) deadLetter(ctx context.Context, messages []*held, reasons []error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadLetterWithin)
	defer cancel()
	conn, err := connect(c.url, clientConfig(c.name+" dead letters"))
	if err != nil {
		return fmt.Errorf("dead-letter: %w", err)
	}
	defer conn.close()
	// A broker that no longer reads must not stop the consumer: only the confirms obey ctx.
	err = conn.within(func() error { return c.publishDead(ctx, conn, messages, reasons) })
	if err != nil {
		return fmt.Errorf("dead-letter: %w", err)
	}
	return nil
}

// publishDead publishes copies to the dead-letter queue and waits for their confirms.
func (c *Consumer) publishDead(ctx context.Context, conn *connection, messages []*held, reasons []error) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	// Large enough for every message: a return reaches it before its confirm is resolved.
	returns := ch.NotifyReturn(make(chan amqp.Return, len(messages)))
	confirms := make([]*amqp.DeferredConfirmation, len(messages))
	for i, m := range messages {
		c.log.ErrorContext(ctx, "consumer: message goes to the dead-letter queue",
			"message_id", m.MessageId, "type", m.Type, "error", reasons[i])
		copied := republished(m.Delivery.Delivery, conn.user)
		copied.DeliveryMode = amqp.Persistent
		reason := reasons[i].Error()
		if copied.Headers == nil {
			copied.Headers = amqp.Table{}
		}
		copied.Headers[HeaderReason] = strings.ToValidUTF8(reason[:min(len(reason), reasonMax)], "")
		copied.Headers[HeaderFailedAt] = time.Now().UTC().Format(time.RFC3339)
		if _, earlier := copied.Headers[HeaderRoutingKey]; !earlier {
			copied.Headers[HeaderRoutingKey] = m.RoutingKey
		}
		confirms[i], err = ch.PublishWithDeferredConfirmWithContext(ctx, DeadExchange, c.queue, true, false, copied)
		if err != nil {
			return err
		}
	}
	for _, c := range confirms {
		if err := confirm(ctx, c); err != nil {
			return err
		}
	}
	select {
	case <-returns:
		return ErrReturned
	default:
		return nil
	}
}
