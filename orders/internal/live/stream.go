package live

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"gozon/orders/internal/order"
)

const (
	// waiting is how many batches a stream may be behind: beyond that it is cut off
	// rather than kept in memory.
	waiting = 16
	// resumeMax is how many missed orders are told one by one; beyond that a snapshot is less.
	resumeMax = 500
)

// Batch is what a stream is told at once. Every change below Mark was told by then,
// those of the batch included. A batch without orders is a heartbeat.
type Batch struct {
	Mark   order.Watermark
	Orders []order.Order // shared with other streams: not to be changed
}

// Stream follows the orders of one user.
type Stream struct {
	// Batches is closed when the stream ends: it was too slow, or the replica stops.
	Batches <-chan Batch

	hub     *Hub
	user    int64
	began   order.Snapshot // its start had what this includes
	batches chan Batch
}

// Start is what a stream begins with: a snapshot of the user's newest orders, or, when
// it resumes, those that changed meanwhile.
type Start struct {
	Mark     order.Watermark // when all of the start was told
	Resumed  bool
	Last     order.Watermark // until then, when it resumes: what the client came with
	Missed   []order.Order   // when it resumes
	Snapshot order.Page      // when it does not
}

// Follow begins a stream; it must be closed. last is the watermark of the last batch
// that the client has, or 0. limit is the size of a snapshot. Orders may be told once
// more after the start, or be older than those of it: the version decides.
func (h *Hub) Follow(ctx context.Context, user int64, last order.Watermark, limit int) (*Stream, Start, error) {
	if !h.begun.Load() {
		return nil, Start{}, ErrNotReady
	}
	// The snapshot first, then the stream, then the read: what changes from now on is
	// told by the stream, and what changed before is read.
	snapshot, err := h.store.Snapshot(ctx)
	if err != nil {
		return nil, Start{}, fmt.Errorf("follow: %w", err)
	}
	s, err := h.open(user, snapshot)
	if err != nil {
		return nil, Start{}, err
	}
	start, err := h.start(ctx, user, last, snapshot.Min, limit)
	if err != nil {
		s.Close()
		return nil, Start{}, fmt.Errorf("follow: %w", err)
	}
	return s, start, nil
}

func (h *Hub) start(ctx context.Context, user int64, last, mark order.Watermark, limit int) (Start, error) {
	if last > 0 && last <= mark {
		var orders []order.Order
		for o, err := range h.store.ChangedSince(ctx, last.Snapshot(), resumeMax+1, user) {
			if err != nil {
				return Start{}, err
			}
			orders = append(orders, o)
		}
		if len(orders) <= resumeMax {
			slices.SortFunc(orders, func(a, b order.Order) int { return slices.Compare(a.ID[:], b.ID[:]) })
			return Start{Mark: mark, Resumed: true, Last: last, Missed: orders}, nil
		}
	}
	orders, err := h.store.OrdersOf(ctx, user, uuid.Max, limit+1)
	if err != nil {
		return Start{}, err
	}
	return Start{Mark: mark, Snapshot: order.PageOf(orders, limit)}, nil
}

func (h *Hub) open(user int64, began order.Snapshot) (*Stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count >= h.max {
		return nil, ErrTooMany
	}
	batches := make(chan Batch, waiting)
	s := &Stream{Batches: batches, hub: h, user: user, began: began, batches: batches}
	if h.streams[user] == nil {
		h.streams[user] = map[*Stream]struct{}{}
	}
	h.streams[user][s] = struct{}{}
	h.count++
	return s, nil
}

// Close ends the stream. It may be called more than once.
func (s *Stream) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.end(s)
}

// send gives a stream what is new to it, and cuts off one that does not keep up. The
// caller holds mu.
func (h *Hub) send(s *Stream, b Batch) {
	b.Mark = max(b.Mark, s.began.Min)
	started := func(o order.Order) bool { return s.began.Includes(o.ChangedIn) } // its start had them
	if slices.ContainsFunc(b.Orders, started) {
		if b.Orders = slices.DeleteFunc(slices.Clone(b.Orders), started); len(b.Orders) == 0 {
			return
		}
	}
	select {
	case s.batches <- b:
	default:
		h.end(s)
	}
}

// end takes a stream out, once. The caller holds mu.
func (h *Hub) end(s *Stream) {
	streams := h.streams[s.user]
	if _, there := streams[s]; !there {
		return
	}
	delete(streams, s)
	if len(streams) == 0 {
		delete(h.streams, s.user)
	}
	h.count--
	close(s.batches)
}

func (h *Hub) endAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, streams := range h.streams {
		for s := range streams {
			h.end(s)
		}
	}
}
