package broker

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	redriveBatch        = 200
	redriveRound        = time.Second     // length of a round; the next round continues the pass
	redriveTimeout      = 5 * time.Second // for the confirms of the messages that a round has taken
	redrivePassInterval = time.Minute     // between passes while the queue does not grow
)

// redriver moves the events of one service from [Unrouted] back to [Exchange] once the
// bindings exist again. A message is acked after its copy was confirmed. A crash in between
// leaves it in both places, and the inbox drops the duplicate.
//
// All other messages are kept: the broker does not accept a copy in the name of another
// service, and nobody would believe it. AMQP reads a queue only from its head, so a pass takes
// every message once and requeues the others when it ends. A policy of the broker lifts the
// delivery limit of the queue, because requeuing counts as a failed delivery. One pass starts
// when the queue is deeper than the last pass left it, with backoff while passes route
// nothing, because the other service has not bound its queue again. While the queue is not
// empty, one also starts every minute. A pass is done in rounds of about a second.
//
// Several redrivers work on the queue. What one of them has taken is missing from its depth
// until it is requeued, so a greater depth does not mean that a message came back. Its id does.
type redriver struct {
	log     *slog.Logger
	user    string          // whose events are moved
	source  *amqp.Channel   // gets messages; its deliveries must survive a failed publish
	target  *confirmChannel // publishes their copies; nil until needed
	unacked []amqp.Delivery // taken, but the copy is not confirmed yet
	others  []uint64        // delivery tags of messages that were taken and are kept
	lastErr error           // why messages were not routed; nil if all were

	// The pass in progress.
	remaining int    // messages to take
	depth     int    // of the queue at the start of the pass
	taken     int    // messages taken
	routed    int    // messages published to Exchange
	first     string // id of the first one
	returned  bool   // what the last pass has published is unrouted again

	lastFirst string    // id of the first message that the last pass published
	kept      int       // messages that the last pass left in the queue
	lastPass  time.Time // end of the last pass
	notBefore time.Time // earliest time of the next round
	delay     time.Duration
}

// due reports whether to run a round on a queue of the given depth.
func (r *redriver) due(depth int, now time.Time) bool {
	if now.Before(r.notBefore) {
		return false
	}
	return r.inPass() || depth > r.kept || depth > 0 && now.Sub(r.lastPass) >= redrivePassInterval
}

// inPass reports whether a pass is in progress.
func (r *redriver) inPass() bool { return r.remaining > 0 || len(r.unacked) > 0 }

// round continues the pass in progress, or starts one, for about a second. An error means
// that the connection is unusable.
func (r *redriver) round(ctx context.Context, c *connection, depth int) error {
	if !r.inPass() {
		if r.first != "" {
			r.lastFirst = r.first
		}
		r.returned = r.routed > 0 && r.first == "" // unknown
		r.first = ""
		r.remaining, r.depth, r.taken, r.routed = depth, depth, 0, 0
	}
	started := time.Now()
	for r.inPass() && ctx.Err() == nil && time.Since(started) < redriveRound {
		if err := c.withTimeout(func() error { return r.take(c) }); err != nil {
			return err
		}
		if err := c.withTimeout(func() error { return r.route(ctx, c) }); err != nil {
			return err
		}
		if r.lastErr != nil {
			r.backOff()
			break
		}
	}
	if r.inPass() && r.lastErr == nil {
		return nil
	}
	if err := c.withTimeout(r.requeueOthers); err != nil {
		return err
	}
	if r.inPass() || r.taken == 0 { // another redriver has taken what was there
		return nil
	}
	r.kept, r.lastPass = max(r.depth-r.routed, 0), time.Now()
	if r.routed > 0 {
		r.log.WarnContext(ctx, "redrive: unrouted messages were published again", "messages", r.routed)
	}
	if r.routed == 0 || r.returned {
		r.backOff()
	} else {
		r.delay = 0
	}
	return nil
}

// take gets messages of the pass until a batch is unacked.
func (r *redriver) take(c *connection) error {
	if r.source == nil {
		ch, err := c.Channel()
		if err != nil {
			return fmt.Errorf("redrive: %w", err)
		}
		r.source = ch
	}
	for taken := 0; r.remaining > 0 && len(r.unacked) < redriveBatch && taken < redriveBatch; taken++ {
		d, ok, err := r.source.Get(Unrouted, false)
		if err != nil {
			return fmt.Errorf("redrive: %w", err)
		}
		if !ok { // another redriver has emptied the queue
			r.remaining = 0
			return nil
		}
		r.taken++
		r.returned = r.returned || d.MessageId != "" && d.MessageId == r.lastFirst
		if flowOf(d.RoutingKey).producer == r.user {
			r.unacked = append(r.unacked, d)
		} else {
			r.others = append(r.others, d.DeliveryTag)
		}
		r.remaining--
	}
	return nil
}

// requeueOthers returns the messages that are kept to the queue.
func (r *redriver) requeueOthers() error {
	for _, tag := range r.others {
		if err := r.source.Nack(tag, false, true); err != nil {
			return fmt.Errorf("redrive: requeue: %w", err)
		}
	}
	r.others = nil
	return nil
}

// route publishes copies of the unacked messages and acks those with a confirmed copy.
func (r *redriver) route(ctx context.Context, c *connection) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redriveTimeout)
	defer cancel()
	size := redriveBatch
	if r.lastErr != nil {
		size = 1 // a message that the broker refuses closes the channel and fails its whole batch
	}
	var failed []amqp.Delivery
	r.lastErr = nil
	for batch := range slices.Chunk(r.unacked, size) {
		for i, err := range r.publish(ctx, c, batch) {
			if err != nil {
				failed, r.lastErr = append(failed, batch[i]), fmt.Errorf("%s: %w", Unrouted, err)
				continue
			}
			if r.routed++; r.first == "" {
				r.first = batch[i].MessageId
			}
			if err := batch[i].Ack(false); err != nil {
				return fmt.Errorf("redrive: ack: %w", err)
			}
		}
	}
	r.unacked = failed
	if r.lastErr != nil {
		r.log.WarnContext(ctx, "redrive: unrouted messages not routed, retrying", "messages", len(failed), "error", r.lastErr)
	}
	return nil
}

// publish publishes copies of a batch. It returns one error for each message, in order.
func (r *redriver) publish(ctx context.Context, c *connection, batch []amqp.Delivery) []error {
	if r.target == nil {
		ch, err := c.confirmChannel(redriveBatch)
		if err != nil {
			return slices.Repeat([]error{err}, len(batch))
		}
		r.target = ch
	}
	copies := make([]copied, len(batch))
	for i, d := range batch {
		copies[i] = copied{Exchange, d.RoutingKey, copyDelivery(d, c.user)}
	}
	errs := r.target.publish(ctx, copies)
	if cmp.Or(errs...) != nil {
		r.discardTarget(errs)
	}
	return errs
}

// discardTarget closes the publishing channel, so that a late confirm is not mistaken for
// one of the next batch. If the broker had closed the channel already, its reason replaces
// every error in errs.
func (r *redriver) discardTarget(errs []error) {
	_ = r.target.Close()
	if reason := <-r.target.closed; reason != nil {
		for i, err := range errs {
			if err != nil {
				errs[i] = reason
			}
		}
	}
	r.target = nil
}

// disconnected resets everything that belongs to the connection. The broker counts a
// failed delivery for each unacked message, so the next round is delayed.
func (r *redriver) disconnected() {
	if len(r.unacked) > 0 {
		r.backOff()
	}
	r.source, r.target, r.unacked, r.others, r.lastErr, r.remaining = nil, nil, nil, nil, nil, 0
}

// backOff delays the next round. The delay doubles until a pass has routed something.
func (r *redriver) backOff() {
	r.delay = min(max(inspectInterval, 2*r.delay), redrivePassInterval)
	r.notBefore = time.Now().Add(r.delay)
}
