package broker

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

// Headers of a dead-lettered message.
const (
	HeaderReason     = "gozon-reason"      // the error, as text
	HeaderFailedAt   = "gozon-failed-at"   // when it was dead-lettered, RFC 3339
	HeaderRoutingKey = "gozon-routing-key" // the routing key that it was first published with
	HeaderPublisher  = "gozon-publisher"   // the user that has published it; empty if unknown
)

const (
	copyTimeout = 5 * time.Second
	maxReason   = 1 << 10 // bytes
)

// deadLetter copies events to the dead-letter queue, each as a message of its own, with the
// reason. The caller acks the original once all of its events are settled. If it rejected
// the message instead, only the log would contain the reason. A crash before the ack leaves
// an event in both queues; it can take effect at most once.
func (c *Consumer) deadLetter(ctx context.Context, dead []*event, reasons []error) error {
	copies := make([]copied, len(dead))
	for i, e := range dead {
		p := e.copy(c.broker.user())
		c.log.ErrorContext(ctx, "consumer: event failed, dead-lettering it",
			"message_id", p.MessageId, "type", p.Type, "error", reasons[i])
		reason := reasons[i].Error()
		p.Headers[HeaderReason] = strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
		p.Headers[HeaderFailedAt] = time.Now().UTC().Format(time.RFC3339)
		copies[i] = copied{DeadExchange, c.queue, p}
	}
	if err := c.publishCopies(ctx, copies); err != nil {
		return fmt.Errorf("dead-letter: %w", err)
	}
	return nil
}

// publishCopies publishes copies of events and waits for the confirms.
//
// It opens a separate connection: the broker blocks connections that publish while it is
// short of memory or disk, and acks must not be blocked.
func (c *Consumer) publishCopies(ctx context.Context, copies []copied) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), copyTimeout)
	defer cancel()
	conn, err := c.broker.connect(clientConfig(c.name + " dead letters"))
	if err != nil {
		return err
	}
	defer conn.close()
	// Only the wait for confirms observes ctx. withTimeout also covers a broker that stops reading.
	return conn.withTimeout(func() error {
		ch, err := conn.confirmChannel(len(copies))
		if err != nil {
			return err
		}
		return cmp.Or(ch.publish(ctx, copies)...) // the first error
	})
}
