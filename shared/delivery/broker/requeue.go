package broker

import (
	"fmt"
	"sync"

	"github.com/google/uuid"
)

// maxRequeued bounds the messages that requeued remembers. Another replica may take them.
const maxRequeued = 1024

// requeued remembers which events of requeued messages are left, so that the others are not
// handled again when the message is redelivered. If another replica takes it, they are, and
// they change nothing, as after a crash.
type requeued struct {
	mu     sync.Mutex
	events map[uuid.UUID]map[int]bool // the indexes that are left, by message
}

// left returns the events of a delivery that are left.
func (r *requeued) left(all []*event) []*event {
	r.mu.Lock()
	defer r.mu.Unlock()
	indexes := r.events[all[0].id]
	if indexes == nil {
		return all
	}
	m := all[0].message
	var left []*event
	for _, e := range all {
		if indexes[e.index] {
			left = append(left, e)
		}
	}
	m.split, m.unsettled = true, len(left)
	return left
}

// remember records the events of a message that are left.
func (r *requeued) remember(left []*event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.events == nil || len(r.events) >= maxRequeued {
		r.events = map[uuid.UUID]map[int]bool{}
	}
	for _, e := range left {
		if r.events[e.id] == nil {
			r.events[e.id] = map[int]bool{}
		}
		r.events[e.id][e.index] = true
	}
}

// forget removes a message.
func (r *requeued) forget(id uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.events, id)
}

// requeue returns the messages of events to the end of the queue, so that they do not block
// the messages behind them. All other events of these messages are settled.
func (p *processor) requeue(excess []*event) error {
	left := map[*message][]*event{}
	for _, e := range excess {
		left[e.message] = append(left[e.message], e)
	}
	for m, events := range left {
		if m.id != uuid.Nil {
			p.requeued.forget(m.id)
			p.requeued.remember(events)
		}
		if err := m.Reject(true); err != nil {
			return fmt.Errorf("requeue: %w", err)
		}
	}
	return nil
}
