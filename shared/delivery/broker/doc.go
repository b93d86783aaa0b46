// Package broker connects the services to RabbitMQ. It declares the topology, publishes
// with confirms and consumes in batches. No other package uses AMQP.
//
//	                       ┌─ order.#   ─► orders_queue   ─► payments   (dead: orders_queue.dead)
//	gozon.events (topic) ──┼─ payment.# ─► payments_queue ─► orders     (dead: payments_queue.dead)
//	                       └─ no queue  ─► gozon.unrouted (alternate exchange and queue)
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
//	a queue or an exchange is deleted  every session that used it ends; the topology is declared again
//	a binding is deleted               it is declared again within ten seconds, or when gozon.unrouted grows
//	the handler is unavailable         the batch is retried with backoff; nothing is acked or rejected
//	the handler returns ErrPoison      that message is dead-lettered, the rest is acked
package broker
