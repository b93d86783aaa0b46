// Package broker is the shop's RabbitMQ: the topology, a publisher that confirms
// and a consumer that works in batches. It is the only package that knows AMQP.
//
//	                       ┌─ order.#   ─► orders_queue   ─► payments   (dead: orders_queue.dead)
//	gozon.events (topic) ──┼─ payment.# ─► payments_queue ─► orders     (dead: payments_queue.dead)
//	                       └─ no queue  ─► gozon.unrouted (alternate exchange and queue)
//
// A session is the life of one connection. It is never repaired: when its socket
// dies, or a publish or an ack fails on it, all of it is thrown away and a new
// one is made, for ever. So a batch never spans two channels, and the states in
// which a half-recovered client can be stuck do not exist.
//
// What a fault does:
//
//	broker gone while publishing       no confirm: the outbox row stays and is published again
//	broker gone before the ack         the batch comes again; the inbox drops what was done
//	nothing is bound for a message     the alternate exchange keeps it in gozon.unrouted until it can be routed
//	and the alternate exchange is gone the message is returned: not confirmed, published again after a redeclare
//	confirms are late                  what was confirmed counts; the session ends only if nothing was
//	a queue or an exchange is deleted  every session that used it ends; the topology is declared again
//	a binding is deleted               it is declared again within ten seconds, or as soon as a message misses it
//	the handler cannot work now        the batch is held and tried again; nothing is acked or rejected
//	the handler says ErrPoison         that message goes to the dead-letter queue, the rest is acked
package broker
