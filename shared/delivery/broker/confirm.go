package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Reasons why a message counts as unconfirmed.
var (
	ErrNacked   = errors.New("not confirmed by the broker")               // nacked, or the channel was closed first
	ErrReturned = errors.New("returned by the broker: no queue is bound") // the broker also acks it
)

// awaitConfirm waits for a confirm until ctx is done. A confirm that has already arrived
// counts even then.
func awaitConfirm(ctx context.Context, c *amqp.DeferredConfirmation) error {
	// A closed channel resolves its confirms at once, as not acked.
	acked, err := c.WaitContext(ctx)
	switch {
	case acked || c.Acked():
		return nil
	case err != nil:
		return fmt.Errorf("confirm: %w", err)
	}
	return ErrNacked
}

// confirmChannel is a channel in confirm mode. It publishes copies of deliveries.
type confirmChannel struct {
	*amqp.Channel
	returns chan amqp.Return
	closed  chan *amqp.Error
}

// copied is a copy of a delivery and where to publish it.
type copied struct {
	exchange, key string
	amqp.Publishing
}

// confirmChannel opens a channel for batches of at most maxBatch messages.
func (c *connection) confirmChannel(maxBatch int) (*confirmChannel, error) {
	ch, err := c.Channel()
	if err != nil {
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	return &confirmChannel{
		Channel: ch,
		returns: ch.NotifyReturn(make(chan amqp.Return, maxBatch)), // never blocks the connection
		closed:  ch.NotifyClose(make(chan *amqp.Error, 1)),
	}, nil
}

// publish publishes a batch, mandatory, and waits for the confirms until ctx is done. It
// returns one error for each message, in order.
func (c *confirmChannel) publish(ctx context.Context, batch []copied) []error {
	errs := make([]error, len(batch))
	confirms := make([]*amqp.DeferredConfirmation, len(batch))
	for i, m := range batch {
		confirms[i], errs[i] = c.PublishWithDeferredConfirmWithContext(ctx, m.exchange, m.key, true, false, m.Publishing)
	}
	for i, confirm := range confirms {
		if errs[i] == nil {
			errs[i] = awaitConfirm(ctx, confirm)
		}
	}
	// The client enqueues a return before it resolves the confirm of the same message.
	returned := map[string]bool{} // by routing key: messages with the same key take the same route
	for len(c.returns) > 0 {
		returned[(<-c.returns).RoutingKey] = true
	}
	for i, m := range batch {
		if errs[i] == nil && returned[m.key] {
			errs[i] = ErrReturned
		}
	}
	return errs
}

// copyDelivery returns the message of a delivery, to be published by user.
func copyDelivery(d amqp.Delivery, user string) amqp.Publishing {
	headers := maps.Clone(d.Headers)
	maps.DeleteFunc(headers, func(key string, _ any) bool { return key == "x-delivery-count" || key == "x-acquired-count" }) // set by the queue
	p := amqp.Publishing{
		Headers: headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode,
		Priority: d.Priority, CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration,
		MessageId: d.MessageId, Timestamp: d.Timestamp, Type: d.Type, UserId: d.UserId, AppId: d.AppId, Body: d.Body,
	}
	if p.UserId != user {
		p.UserId = "" // the broker accepts only the publisher's own user id
	}
	return p
}
