package main

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	publishQueue = "bench.publish"
	// event has the size of an order.created event of the shop.
	event = `{"specversion":"1.0","id":"019abc00-0000-7000-8000-000000000001","source":"/orders","type":"order.created.v1",` +
		`"subject":"019abc00-0000-7000-8000-000000000002","time":"2026-01-01T00:00:00.000000Z","datacontenttype":"application/json",` +
		`"data":{"order_id":"019abc00-0000-7000-8000-000000000002","user_id":1000,"amount_minor":100}}`
)

// runPublish publishes one message for each order over one channel, with at most w.clients
// unconfirmed messages in flight, and waits for all confirms.
func runPublish(ctx context.Context, w workload) (result, error) {
	conn, err := amqp.Dial(w.server)
	if err != nil {
		return result{}, fmt.Errorf("AMQP_URL: %w", err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return result{}, fmt.Errorf("channel: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return result{}, fmt.Errorf("confirm: %w", err)
	}
	if _, err := ch.QueueDeclare(publishQueue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		return result{}, fmt.Errorf("declare: %w", err)
	}
	r, err := measure(w.orders, func() error {
		inFlight := make([]*amqp.DeferredConfirmation, w.clients) // a ring
		for i := range w.orders + w.clients {
			if old := inFlight[i%w.clients]; old != nil {
				ok, err := old.WaitContext(ctx)
				if err != nil {
					return fmt.Errorf("confirm: %w", err)
				}
				if !ok {
					return errors.New("the broker refused a message")
				}
			}
			inFlight[i%w.clients] = nil
			if i >= w.orders {
				continue
			}
			inFlight[i%w.clients], err = ch.PublishWithDeferredConfirmWithContext(ctx, "", publishQueue, true, false,
				amqp.Publishing{DeliveryMode: amqp.Persistent, ContentType: "application/cloudevents+json", Body: []byte(event)})
			if err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return result{}, err
	}
	if _, err := ch.QueueDelete(publishQueue, false, false, false); err != nil {
		return result{}, fmt.Errorf("delete queue: %w", err)
	}
	return r, nil
}
