// Package inbox makes each event take effect once although messages may be delivered more
// than once. The transaction that applies an event also claims an id in the inbox, which
// fails if the id was claimed before.
//
// A message may contain many events. Usually one transaction applies all of them and claims
// the id of the message, so the inbox has one row per message. If an event fails or has to
// wait, the others must not wait for it: the events of that message are then applied in
// several transactions, each claiming the ids of its events.
//
//	message delivered twice           its id is claimed: the second delivery has no effect
//	message delivered twice in a set  the events of the second delivery have no effect
//	message split, delivered again    the ids of its settled events are claimed
//	message split, all events settled, delivered again because the ack was lost
//	                                  its own id is free: its events are applied again and find
//	                                  the order or payment that they have already changed
package inbox

import "github.com/google/uuid"

// Event is an event that was received.
type Event[T any] struct {
	ID    uuid.UUID
	Claim uuid.UUID // the id to claim: that of its message, or ID
	Data  T
}

// Claims returns the ids to claim for a set of events.
func Claims[T any](set []Event[T]) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(set))
	for i, e := range set {
		if i == 0 || e.Claim != set[i-1].Claim {
			ids = append(ids, e.Claim)
		}
	}
	return ids
}

// Fresh returns, for each event of a set, whether it must be applied: it must not if it was
// applied before, or if it repeats an earlier event of the set. claimed contains the ids of
// [Claims] that were not claimed before.
func Fresh[T any](set []Event[T], claimed map[uuid.UUID]bool) []bool {
	fresh, seen := make([]bool, len(set)), make(map[uuid.UUID]bool, len(set))
	for i, e := range set {
		fresh[i] = claimed[e.Claim] && !seen[e.ID]
		seen[e.ID] = true
	}
	return fresh
}
