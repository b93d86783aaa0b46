package live

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"gozon/orders/internal/order"
)

const (
	// pendingBatches is how many batches a stream may lag behind. A stream that lags further
	// is closed, so that it does not take more memory.
	pendingBatches = 16
	// resumeMax is the maximum number of missed orders that a resumed stream starts with.
	// With more, a snapshot is smaller.
	resumeMax = 500
)

// Batch is a set of orders delivered together. Every change below Watermark has been
// delivered, including those of the batch. A batch without orders is a heartbeat.
type Batch struct {
	Watermark Watermark
	Orders    []Revision // shared with other streams: read-only
}

// Stream follows the orders of one user.
type Stream struct {
	// Batches is closed when the stream ends: it did not keep up, or the replica stops.
	Batches <-chan Batch

	hub     *Hub
	user    int64
	initial Snapshot // the start of the stream includes its changes
	batches chan Batch
}

// Start is the beginning of a stream: a page of the user's newest orders or, if the stream
// resumes, the orders that have changed since the client's watermark.
type Start struct {
	Watermark Watermark // of the stream once the whole start is delivered
	Resumed   bool
	Last      Watermark  // the client's watermark, if Resumed
	Missed    []Revision // if Resumed
	Page      order.Page // if not Resumed
}

// Follow starts a stream, which the caller must close. last is the watermark of the
// client's last batch, or 0. limit is the size of the first page. The stream may deliver an
// order in a version that the start has already delivered, or in an older one, so clients
// compare versions.
func (h *Hub) Follow(ctx context.Context, user int64, last Watermark, limit int) (*Stream, Start, error) {
	if !h.started.Load() {
		return nil, Start{}, ErrNotReady
	}
	// The order matters: snapshot, stream, read. The stream delivers the changes from the
	// moment it is opened, and the read returns the earlier ones. The read misses no change
	// that the snapshot includes.
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

func (h *Hub) start(ctx context.Context, user int64, last, watermark Watermark, limit int) (Start, error) {
	if last > 0 && last <= watermark {
		var missed []Revision
		for o, err := range h.store.ChangedSince(ctx, last.Snapshot(), resumeMax+1, user) {
			if err != nil {
				return Start{}, err
			}
			missed = append(missed, o)
		}
		if len(missed) <= resumeMax {
			slices.SortFunc(missed, func(a, b Revision) int { return slices.Compare(a.ID[:], b.ID[:]) })
			return Start{Watermark: watermark, Resumed: true, Last: last, Missed: missed}, nil
		}
	}
	page, err := h.pages.OrdersOf(ctx, user, uuid.Max, limit)
	if err != nil {
		return Start{}, err
	}
	return Start{Watermark: watermark, Page: page}, nil
}

func (h *Hub) open(user int64, initial Snapshot) (*Stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count >= h.max {
		return nil, ErrTooMany
	}
	batches := make(chan Batch, pendingBatches)
	s := &Stream{Batches: batches, hub: h, user: user, initial: initial, batches: batches}
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

// send sends the orders that are new to a stream and ends a stream that does not keep up.
// The caller holds mu.
func (h *Hub) send(s *Stream, b Batch) {
	b.Watermark = max(b.Watermark, s.initial.Min)
	inStart := func(o Revision) bool { return s.initial.Includes(o.ChangedIn) }
	if slices.ContainsFunc(b.Orders, inStart) {
		if b.Orders = slices.DeleteFunc(slices.Clone(b.Orders), inStart); len(b.Orders) == 0 {
			return
		}
	}
	select {
	case s.batches <- b:
	default:
		h.end(s)
	}
}

// end removes a stream, once. The caller holds mu.
func (h *Hub) end(s *Stream) {
	streams := h.streams[s.user]
	if _, open := streams[s]; !open {
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
