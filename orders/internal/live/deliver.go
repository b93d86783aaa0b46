package live

import (
	"context"
	"maps"
	"slices"

	"github.com/google/uuid"

	"gozon/orders/internal/order"
)

// followed are the orders of users who have a stream, of changed and of all else that
// was heard meanwhile.
func (h *Hub) followed(changed []order.Changed) []uuid.UUID {
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
		case changed = <-h.heard:
		default:
			return ids
		}
	}
}

func (h *Hub) tell(ctx context.Context, ids []uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	for len(ids) > 0 {
		n := min(len(ids), chunk)
		orders, err := h.store.Orders(ctx, ids[:n]...)
		if err != nil {
			return err
		}
		h.deliver(orders)
		ids = ids[n:]
	}
	return nil
}

// reconcile delivers what changed since the last reconciliation and was not delivered yet.
func (h *Hub) reconcile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	snapshot, err := h.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	if users := h.followedUsers(); len(users) > 0 && h.begun.Load() {
		// They come by user: however many there are, a stream gets its own in few batches.
		var orders []order.Order
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
	h.begun.Store(true)
	maps.DeleteFunc(h.delivered, func(_ uuid.UUID, d delivery) bool { return snapshot.Includes(d.changedIn) })
	h.remembered.Store(int64(len(h.delivered)))
	return nil
}

func (h *Hub) followedUsers() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.streams))
}

// deliver gives each user's streams what is new of orders. What the snapshot of the last
// reconciliation includes was delivered by it, though its notification may come only now.
func (h *Hub) deliver(orders []order.Order) {
	byUser := map[int64][]order.Order{}
	for _, o := range orders {
		if h.reconciled.Includes(o.ChangedIn) || h.delivered[o.ID].version >= o.Version {
			continue
		}
		byUser[o.UserID] = append(byUser[o.UserID], o)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for user, orders := range byUser {
		for s := range h.streams[user] {
			h.send(s, Batch{h.reconciled.Min, orders})
		}
		h.remember(orders)
	}
}

// remember notes what was delivered. When that is too much, it begins again: some orders
// are delivered twice then, and their version decides.
func (h *Hub) remember(orders []order.Order) {
	if len(h.delivered)+len(orders) > deliveredMax {
		clear(h.delivered)
	}
	for _, o := range orders {
		h.delivered[o.ID] = delivery{o.Version, o.ChangedIn}
	}
	h.remembered.Store(int64(len(h.delivered)))
}

// beat gives every stream the watermark up to which it has been told everything.
func (h *Hub) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, streams := range h.streams {
		for s := range streams {
			h.send(s, Batch{Mark: h.reconciled.Min})
		}
	}
}
