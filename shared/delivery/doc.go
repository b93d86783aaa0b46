// Package delivery gives a service exactly-once effects on at-least-once delivery. One
// [Store] per schema combines the three tables that make it work, so that a use case
// sees a single transaction:
//
//	tx { Claim ids ─► lock ─► change rows ─► Emit events }                a consumer
//	tx { ClaimKeys ─► change rows ─► Emit events ─► StoreResponses }      a request
//	    │ commit wakes the relay
//	    ▼
//	relay tx { claim outbox rows FOR UPDATE SKIP LOCKED ─► publish ─► await confirms ─► delete confirmed rows }
//
// The inbox makes each id claimable once, in the transaction of the effect; package inbox
// documents which ids are claimed. The outbox makes events part of the change that they
// describe. The events of one type that a transaction emits are one row and one message.
// The idempotency keys do for requests what the inbox does for events; package idempotency
// documents their rules.
//
// What a crash leaves behind:
//
//	before the commit                    nothing: no change, no claim, no event
//	after the commit, before the relay   outbox rows; the poll of any replica finds them
//	between publish and confirm          outbox rows, unlocked; they are published again
//	between confirm and delete           outbox rows, unlocked; they are published twice and the inbox drops the copy
//
// The migrations of each service create the tables. Package deliverytest verifies them
// against this contract:
//
//	<schema>.inbox (message_id uuid PRIMARY KEY, received_at timestamptz NOT NULL DEFAULT now())
//	<schema>.outbox (id uuid PRIMARY KEY, type text, subject text, data json, traceparent text NULL, created_at timestamptz)
//	<schema>.idempotency_keys (user_id bigint, operation text, key text, fingerprint bytea, result json,
//		created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (user_id, operation, key))
//
// A BRIN index on idempotency_keys (created_at) serves the pruner: rows are roughly in
// insertion order, and the index costs next to nothing to maintain.
package delivery
