package live

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"gozon/orders/internal/order"
)

// resumeMax is the maximum number of missed orders that a resumed stream starts with. With
// more, a snapshot is smaller.
const resumeMax = 500

// Batch is a set of orders delivered together. Every change below Watermark has been
// delivered, including those of the batch. A batch without orders is a heartbeat. Streams
// share a batch, so it is read-only.
type Batch struct {
	Watermark Watermark
	Orders    []Revision

	encoded []byte
}

// Encoded returns the result of encode, which is called for the first of the batch's
// followers only. Only [Follower.Deliver] may call it.
func (b *Batch) Encoded(encode func(*Batch) ([]byte, error)) (_ []byte, err error) {
	if b.encoded == nil {
		b.encoded, err = encode(b)
	}
	return b.encoded, err
}

// Follower receives the batches of a [Stream].
type Follower interface {
	// Deliver sends a batch to the client. The goroutine that calls it serves all streams of
	// the replica, so it must not block. If it returns false, because the client does not
	// keep up or is gone, the stream ends.
	Deliver(b *Batch) bool
	// Gone reports whether the client has disconnected; the stream ends then. It must not
	// block.
	Gone() bool
	// End is called once, when the stream ends for any reason. It must not block either.
	End()
}

// Stream follows the orders of one user.
type Stream struct {
	hub      *Hub
	user     int64
	initial  Snapshot // the start of the stream includes its changes
	follower Follower
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
// client's last batch, or 0. limit is the size of the first page. f may receive batches
// before Follow returns, and has to send them to the client after the start. They may
// contain an order in a version that the start contains too, or in an older one, so clients
// compare versions. If Follow fails, it may have called f.End.
func (h *Hub) Follow(ctx context.Context, user int64, last Watermark, limit int, f Follower) (*Stream, Start, error) {
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
	s, err := h.open(user, snapshot, f)
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

func (h *Hub) open(user int64, initial Snapshot, f Follower) (*Stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.count >= h.limits.All:
		return nil, ErrTooMany
	case len(h.streams[user]) >= h.limits.PerUser:
		return nil, ErrTooManyOfUser
	}
	s := &Stream{hub: h, user: user, initial: initial, follower: f}
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

// send sends the orders that are new to a stream. The caller holds mu.
func (h *Hub) send(s *Stream, b *Batch) {
	inStart := func(o Revision) bool { return s.initial.Includes(o.ChangedIn) }
	known := slices.ContainsFunc(b.Orders, inStart)
	if known || b.Watermark < s.initial.Min {
		own := &Batch{Watermark: max(b.Watermark, s.initial.Min), Orders: b.Orders}
		if known {
			if own.Orders = slices.DeleteFunc(slices.Clone(b.Orders), inStart); len(own.Orders) == 0 {
				return
			}
		}
		b = own
	}
	if !s.follower.Deliver(b) {
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
	s.follower.End()
}

// endGone ends the streams whose clients have disconnected.
func (h *Hub) endGone() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, streams := range h.streams {
		for s := range streams {
			if s.follower.Gone() {
				h.end(s)
			}
		}
	}
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
