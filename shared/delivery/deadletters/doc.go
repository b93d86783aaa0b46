// Package deadletters handles the events that a service could not handle. It moves them from
// the broker to a table, where they can be listed, edited, retried and discarded, and it
// records each of these actions.
//
//	orders_queue.dead ─ collect ─► open ─ retry ─► retrying ─ confirm ─► retried
//	       ▲                        │ ▲                                    │
//	       │                discard │ └──── dead-lettered again ◄──────────┘
//	       │                        ▼
//	    consumer                discarded
//
// A queue can be read only from its head, and messages cannot be put back: by default
// RabbitMQ 4 drops a message of a quorum queue after 20 failed deliveries. So everything is
// collected first, and then happens in transactions on the table.
//
// The process may die at any time:
//
//	before the letters are stored    the messages return to their queue
//	before the messages are acked    the same; stored letters absorb them
//	after "retrying", before publish the letter stays "retrying", and can be retried
//	after publish, before "retried"  the same: it is published twice, and the inbox of the consumer drops the copy
//
// A retried event keeps its id, which the consumer claims once, so it takes effect at most
// once, however often it is retried. The header of a retry names the letter and the number of
// the retry. A letter is open again only if its latest retry was dead-lettered: a late copy of
// an earlier one does not reopen it.
//
// Each service has its own tables (see its migrations) and collects the dead letters of the
// queue that it consumes.
package deadletters
