package live

import (
	"context"
	"maps"
	"slices"

	"github.com/google/uuid"
)

// followed returns the ids of the changed orders whose users have a stream. It also takes
// the changes of all pending notifications.
func (h *Hub) followed(changed []Changed) []uuid.UUID {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []uuid.UUID
	seen := map[uuid.UUID]bool{}
	for {
		for _, c := range changed {
			if h.streams[c.UserID] != nil && !seen[c.OrderID] {
				seen[c.OrderID] = true
				ids = append(ids, c.OrderID)
			}
		}
		select {
		case changed = <-h.received:
		default:
			return ids
		}
	}
}

func (h *Hub) deliverByID(ctx context.Context, ids []uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	for len(ids) > 0 {
		n := min(len(ids), chunk)
		orders, err := h.store.Revisions(ctx, ids[:n]...)
		if err != nil {
			return err
		}
		h.deliver(orders)
		ids = ids[n:]
	}
	return nil
}

// reconcile delivers the changes since the last reconciliation that were not delivered yet.
func (h *Hub) reconcile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	snapshot, err := h.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	if users := h.followedUsers(); len(users) > 0 && h.started.Load() {
		// Orders arrive grouped by user, so a stream gets its orders in few batches.
		var orders []Revision
		for o, err := range h.store.ChangedSince(ctx, h.reconciled, 0, users...) {
			if err != nil {
				return err
			}
			if len(orders) == chunk || len(orders) > 0 && orders[0].UserID != o.UserID {
				h.deliver(orders)
				orders = orders[:0]
			}
			orders = append(orders, o)
		}
		h.deliver(orders)
	}
	h.reconciled = snapshot
	h.started.Store(true)
	maps.DeleteFunc(h.delivered, func(_ uuid.UUID, d delivery) bool { return snapshot.Includes(d.changedIn) })
	h.deliveredCount.Store(int64(len(h.delivered)))
	return nil
}

func (h *Hub) followedUsers() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.streams))
}

// deliver sends the revisions that were not delivered yet to the streams of their users. The
// last reconciliation has delivered every change that its snapshot includes, although the
// notification of such a change may arrive later.
func (h *Hub) deliver(orders []Revision) {
	byUser := map[int64][]Revision{}
	for _, o := range orders {
		if h.reconciled.Includes(o.ChangedIn) || h.delivered[o.ID].version >= o.Version {
			continue
		}
		byUser[o.UserID] = append(byUser[o.UserID], o)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for user, orders := range byUser {
		b := &Batch{Watermark: h.reconciled.Min, Orders: orders}
		for s := range h.streams[user] {
			h.send(s, b)
		}
		h.remember(orders)
	}
}

// remember records delivered versions. When there are too many, it discards all of them.
// Some orders are then delivered twice; clients detect that by the version.
func (h *Hub) remember(orders []Revision) {
	if len(h.delivered)+len(orders) > deliveredMax {
		clear(h.delivered)
	}
	for _, o := range orders {
		h.delivered[o.ID] = delivery{o.Version, o.ChangedIn}
	}
	h.deliveredCount.Store(int64(len(h.delivered)))
}

// heartbeat sends every stream the watermark below which everything was delivered.
func (h *Hub) heartbeat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := &Batch{Watermark: h.reconciled.Min}
	for _, streams := range h.streams {
		for s := range streams {
			h.send(s, b)
		}
	}
}
