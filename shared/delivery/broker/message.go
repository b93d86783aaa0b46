package broker

import (
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	rabbitmq "github.com/wagslane/go-rabbitmq"

	"gozon/shared/contract/events"
)

// message is a delivery. It is acked when all of its events are settled.
type message struct {
	rabbitmq.Delivery
	id        uuid.UUID // zero if it has no valid id
	batched   bool      // it contains an array of events
	split     bool      // its events are handled apart and claim their own ids
	unsettled int       // events
}

// event is an event of a message, with the state of its retries.
type event struct {
	*message
	index       int // in the message
	body        []byte
	failedSince time.Time     // its first failure; zero if none
	nextAttempt time.Time     // zero before the first retry is scheduled
	retryDelay  time.Duration // of the next retry to be scheduled
}

// newMessage returns the events of a delivery. A body that is malformed as a whole is
// returned as one event, which the handler will reject.
func newMessage(d rabbitmq.Delivery) []*event {
	m := &message{Delivery: d, batched: events.IsBatch(d.Body)}
	bodies, err := events.Split(d.Body)
	if err != nil {
		bodies, m.batched = append(bodies, d.Body), false
	}
	if m.batched {
		m.id, _ = uuid.Parse(d.MessageId) // without an id, each event claims its own
	}
	m.unsettled = len(bodies)
	all := make([]*event, len(bodies))
	for i, body := range bodies {
		all[i] = &event{message: m, index: i, body: body, retryDelay: minRetryDelay}
	}
	return all
}

// received returns e as the handler receives it.
func (e *event) received() Received {
	if e.split {
		return Received{Body: e.body}
	}
	return Received{e.body, e.id}
}

// copy returns the event as a message of its own, to be published by user.
func (e *event) copy(user string) amqp.Publishing {
	p := copyDelivery(e.Delivery.Delivery, user)
	p.DeliveryMode = amqp.Persistent
	p.UserId = user
	if p.Headers == nil {
		p.Headers = amqp.Table{}
	}
	p.Headers[HeaderPublisher] = e.UserId
	if _, exists := p.Headers[HeaderRoutingKey]; !exists {
		p.Headers[HeaderRoutingKey] = e.RoutingKey
	}
	if e.batched {
		p.Body, p.ContentType = e.body, events.ContentType
		if parsed, err := events.Parse(e.body); err == nil {
			p.MessageId = parsed.ID
		}
	}
	return p
}

// sameMessage reports whether both are events of one message.
func (e *event) sameMessage(other *event) bool { return e.message == other.message }

// failingFor returns the time since the first failure. The first call records that failure.
func (e *event) failingFor() time.Duration {
	if e.failedSince.IsZero() {
		e.failedSince = time.Now()
	}
	return time.Since(e.failedSince)
}
