package broker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	redriveBatch  = 200
	redriveRound  = time.Second     // of one round; the pass goes on in the next
	redriveWithin = 5 * time.Second // for the confirms of a batch
	redriveEvery  = time.Minute     // between passes while nothing new has arrived
)

// redriver moves messages from [Unrouted] back to [Exchange], once the bindings are
// there again. A message is acked after its copy was confirmed, so a crash leaves it
// in either or both; the inbox drops the second.
//
// A message that no binding of the topology matches is kept. A queue can be read
// only from its head, so one pass takes every message once and publishes those again
// at the tail. (Requeuing them would count as a failed delivery, and RabbitMQ 4 drops
// a message of such a queue after 20 of those.) Passes are therefore rare: one when
// the queue is deeper than the last pass left it, with backoff while passes find
// nothing to route, and otherwise one a minute.
type redriver struct {
	log     *slog.Logger
	from    *amqp.Channel // holds the deliveries: it must outlive a failed publish
	to      *amqp.Channel // publishes
	returns chan amqp.Return
	closed  chan *amqp.Error
	held    []amqp.Delivery // taken, but the copy is not confirmed
	problem error           // why; nil if all is well

	todo, depth, routed int // of the pass in progress
	kept                int // what the last pass left
	last, next          time.Time
	wait                time.Duration
}

// due says whether to make a round on a queue of the given depth.
func (r *redriver) due(depth int, now time.Time) bool {
	if now.Before(r.next) {
		return false
	}
	return r.pending() || depth > r.kept || depth > 0 && now.Sub(r.last) >= redriveEvery
}

// pending says whether a pass is in progress.
func (r *redriver) pending() bool { return r.todo > 0 || len(r.held) > 0 }

// round works on a pass for about a second. An error means that the connection is of
// no more use.
func (r *redriver) round(ctx context.Context, c *connection, depth int) error {
	if !r.pending() {
		r.todo, r.depth, r.routed = depth, depth, 0
	}
	began := time.Now()
	for r.pending() && ctx.Err() == nil && time.Since(began) < redriveRound {
		if err := c.within(func() error { return r.take(c) }); err != nil {
			return err
		}
		if err := c.within(func() error { return r.publish(ctx, c) }); err != nil {
			return err
		}
		if r.problem != nil {
			r.backoff()
			break
		}
	}
	if r.pending() {
		return nil
	}
	r.kept, r.last = max(r.depth-r.routed, 0), time.Now()
	if r.routed == 0 {
		r.backoff()
		return nil
	}
	r.wait = 0
	r.log.WarnContext(ctx, "messages that had found no queue were routed again", "messages", r.routed)
	return nil
}

// take gets messages of the pass until a batch is held.
func (r *redriver) take(c *connection) error {
	if r.from == nil {
		ch, err := c.Channel()
		if err != nil {
			return fmt.Errorf("redrive: %w", err)
		}
		r.from = ch
	}
	for r.todo > 0 && len(r.held) < redriveBatch {
		d, ok, err := r.from.Get(Unrouted, false)
		if err != nil {
			return fmt.Errorf("redrive: %w", err)
		}
		if !ok { // another reconciler was faster
			r.todo = 0
			return nil
		}
		r.held = append(r.held, d)
		r.todo--
	}
	return nil
}

// publish publishes what is held and acks what was confirmed of it.
func (r *redriver) publish(ctx context.Context, c *connection) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redriveWithin)
	defer cancel()
	size := redriveBatch
	if r.problem != nil {
		size = 1 // a message that the broker refuses closes the channel for its batch
	}
	var left []amqp.Delivery
	r.problem = nil
	for batch := range slices.Chunk(r.held, size) {
		for i, err := range r.send(ctx, c, batch) {
			if err != nil {
				left, r.problem = append(left, batch[i]), fmt.Errorf("%s: %w", Unrouted, err)
				continue
			}
			if bound(batch[i].RoutingKey) {
				r.routed++
			}
			if err := batch[i].Ack(false); err != nil {
				return fmt.Errorf("redrive: ack: %w", err)
			}
		}
	}
	r.held = left
	if r.problem != nil {
		r.log.WarnContext(ctx, "messages that had found no queue not routed, will retry", "messages", len(left), "error", r.problem)
	}
	return nil
}

// send publishes copies and waits for their confirms. It returns one error for each.
func (r *redriver) send(ctx context.Context, c *connection, batch []amqp.Delivery) []error {
	errs := make([]error, len(batch))
	if err := r.open(c); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	confirms := make([]*amqp.DeferredConfirmation, len(batch))
	for i, d := range batch {
		exchange := Unrouted
		if bound(d.RoutingKey) {
			exchange = Exchange
		}
		confirms[i], errs[i] = r.to.PublishWithDeferredConfirmWithContext(ctx, exchange, d.RoutingKey, true, false, republished(d, c.user))
	}
	for i, c := range confirms {
		if errs[i] == nil {
			errs[i] = confirm(ctx, c)
		}
	}
	// A return arrives before the ack of its message, and the channel holds them all.
	returned := map[string]bool{} // by routing key: all messages of a key go one way
	for len(r.returns) > 0 {
		returned[(<-r.returns).RoutingKey] = true
	}
	for i, d := range batch {
		if errs[i] == nil && returned[d.RoutingKey] {
			errs[i] = ErrReturned
		}
	}
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		r.discard(errs)
	}
	return errs
}

// open makes the channel that publishes, unless there is one.
func (r *redriver) open(c *connection) error {
	if r.to != nil {
		return nil
	}
	ch, err := c.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	r.to = ch
	r.returns = ch.NotifyReturn(make(chan amqp.Return, redriveBatch))
	r.closed = ch.NotifyClose(make(chan *amqp.Error, 1))
	return nil
}

// discard closes the channel that publishes: a confirm that is late must not be taken
// for one of the next batch. If it was the broker that closed it, its reason is what
// errs should say.
func (r *redriver) discard(errs []error) {
	_ = r.to.Close()
	if reason := <-r.closed; reason != nil {
		for i, err := range errs {
			if err != nil {
				errs[i] = reason
			}
		}
	}
	r.to, r.returns, r.closed = nil, nil, nil
}

// disconnected forgets what belonged to a connection. The broker counts what was held
// as a failed delivery, so the next attempt is delayed.
func (r *redriver) disconnected() {
	if len(r.held) > 0 {
		r.backoff()
	}
	r.from, r.to, r.returns, r.closed, r.held, r.problem, r.todo = nil, nil, nil, nil, nil, nil, 0
}

// backoff delays the next round, longer each time until one routes something.
func (r *redriver) backoff() {
	r.wait = min(max(inspectEvery, 2*r.wait), redriveEvery)
	r.next = time.Now().Add(r.wait)
}

// bound says whether a binding of the topology matches a routing key.
func bound(key string) bool {
	for _, pattern := range bindings {
		if strings.HasPrefix(key+".", strings.TrimSuffix(pattern, "#")) {
			return true
		}
	}
	return false
}

// republished is the message of a delivery, to be published by user.
func republished(d amqp.Delivery, user string) amqp.Publishing {
	headers := maps.Clone(d.Headers)
	maps.DeleteFunc(headers, func(key string, _ any) bool { return key == "x-delivery-count" || key == "x-acquired-count" }) // the queue's
	p := amqp.Publishing{
		Headers: headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode,
		Priority: d.Priority, CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration,
		MessageId: d.MessageId, Timestamp: d.Timestamp, Type: d.Type, UserId: d.UserId, AppId: d.AppId, Body: d.Body,
	}
	if p.UserId != user {
		p.UserId = "" // the broker refuses any other than the publisher's
	}
	return p
}
