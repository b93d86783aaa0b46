// Package broker connects the services to RabbitMQ. It publishes with confirms and consumes
// in batches. No other package uses AMQP.
//
//	                       ┌─ order.#   ─► orders_queue   ─► payments   (dead: orders_queue.dead)
//	gozon.events (topic) ──┼─ payment.# ─► payments_queue ─► orders     (dead: payments_queue.dead)
//	                       └─ no queue  ─► gozon.unrouted (alternate exchange and queue)
//
// RabbitMQ declares everything when it starts, from deploy/rabbitmq/definitions.json, which
// also contains the users and their permissions. A service may declare the queue that it
// consumes and its dead-letter queue, and publish only its own events. Each message has the
// id of the user that has published it, which the broker verifies. A consumer believes only
// the service that publishes the events of its queue, and an operator who retries one.
//
// A session is the lifetime of one connection. It is never repaired. When its socket is
// closed, or a publish or an ack on it fails, the session ends and a new one replaces it. So
// a batch never spans two channels, and a failed recovery of the client library cannot leave
// a service without a working connection.
//
// How the package handles faults:
//
//	broker lost while publishing       no confirm: the outbox row stays and is published again
//	broker lost before the ack         the batch is redelivered; the inbox drops what was already handled
//	no queue is bound for a message    the alternate exchange keeps it in gozon.unrouted until it can be routed
//	no alternate exchange either       the message is returned: not confirmed, published again after a redeclare
//	confirms are late                  confirmed messages count; the session ends only if none was confirmed
//	a queue is deleted                 the sessions that consume it end; its consumer declares it again
//	a binding is deleted               its consumer declares it again within ten seconds, or when gozon.unrouted grows
//	an exchange is deleted             it is reported, until the broker has imported its definitions again
//	the handler is unavailable         the batch is retried with backoff; nothing is acked or rejected
//	a message is from another user     it is dead-lettered, and only an operator can retry it
//	the handler returns ErrPoison      that message is dead-lettered, the rest is acked
package broker
